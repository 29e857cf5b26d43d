//! The latest requests with the lines of their functions.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::{Value, json};

use crate::log::Exchange;

/// The number of requests that are kept.
const MAX_RECORDS: usize = 300;
/// The number of lines that are kept of one request.
const MAX_LINES: usize = 50;

/// The latest requests, and invocations that no request caused.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<Mutex<Recent>>);

#[derive(Debug, Default)]
struct Recent {
    /// The number of changes so far.
    changes: u64,
    records: VecDeque<Record>,
}

/// A request, or an invocation without one.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    request_id: String,
    /// The number of its last change.
    #[serde(skip)]
    change: u64,
    /// `None` until it is answered, and for an invocation without a request.
    exchange: Option<Exchange>,
    /// The function's lines, and its metrics.
    lines: Vec<Value>,
}

impl Activity {
    /// Adds a line of a function to its request.
    pub fn add_line(&self, request_id: &str, line: Value) {
        self.change(request_id, |record| {
            if record.lines.len() < MAX_LINES {
                record.lines.push(line);
            }
        });
    }

    /// Adds a request that is answered.
    pub fn add_exchange(&self, exchange: Exchange) {
        let id = exchange.request_id.clone();
        self.change(&id, |record| record.exchange = Some(exchange));
    }

    fn change(&self, request_id: &str, change: impl FnOnce(&mut Record)) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.changes += 1;
        let changes = recent.changes;
        let records = &mut recent.records;
        // It is one of the last.
        let known = records
            .iter()
            .rposition(|record| record.request_id == request_id);
        let at = known.unwrap_or_else(|| {
            if records.len() == MAX_RECORDS {
                records.pop_front();
            }
            records.push_back(Record {
                request_id: request_id.to_owned(),
                change: 0,
                exchange: None,
                lines: Vec::new(),
            });
            records.len() - 1
        });
        if let Some(record) = records.get_mut(at) {
            record.change = changes;
            change(record);
        }
    }

    /// Returns the requests that have changed after a change, and the number of the last change.
    pub fn after(&self, change: u64) -> Value {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = recent.records.iter();
        let changed: Vec<&Record> = changed.filter(|record| record.change > change).collect();
        json!({ "next": recent.changes, "records": changed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once() {
        let activity = Activity::default();
        activity.add_line("1", json!({ "message": "a" }));
        activity.add_line("2", json!({ "message": "b" }));

        let all = activity.after(0);
        assert_eq!(all["next"], 2);
        assert_eq!(all["records"].as_array().unwrap().len(), 2);

        activity.add_line("1", json!({ "message": "c" }));
        let news = activity.after(2);
        assert_eq!(news["records"][0]["requestId"], "1");
        assert_eq!(news["records"][0]["lines"].as_array().unwrap().len(), 2);
        assert_eq!(activity.after(3)["records"], json!([]));
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let activity = Activity::default();
        for id in 0..=MAX_RECORDS {
            activity.add_line(&id.to_string(), json!({}));
        }
        let records = activity.after(0)["records"].as_array().unwrap().clone();
        assert_eq!(records.len(), MAX_RECORDS);
        assert_eq!(records[0]["requestId"], "1");
    }
}
