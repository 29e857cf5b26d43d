//! The event source between a table's stream and a function: batches, filters, retries, partial failures, and giving
//! up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use dynoxide::Database;
use serde_json::{Value, json};

use crate::Error;
use crate::lambda::Lambda;
use crate::log::Log;
use crate::template::Stream;

const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The first wait before a retry; it doubles up to `MAX_BACKOFF`.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(2);

/// The records that were given up, as the dead-letter queue receives them.
pub type DeadLetters = Arc<Mutex<Vec<Value>>>;

/// Reads a table's stream from its beginning and hands the records that pass the filter to a function, in order.
///
/// # Errors
/// If the stream cannot be read.
pub async fn deliver(
    database: Database,
    stream: Stream,
    lambda: Arc<Lambda>,
    dead_letters: DeadLetters,
    log: Log,
) -> Result<(), Error> {
    let mut iterator = beginning(&database, &stream.table)?;
    loop {
        let request = serde_json::from_value(json!({ "ShardIterator": iterator }))?;
        let answer = database
            .get_records(request)
            .map_err(|error| error.to_string())?;
        let records = serde_json::to_value(&answer.records)?;
        let records: Vec<Value> = records.as_array().cloned().unwrap_or_default();
        let passes = |record: &Value| {
            stream
                .filters
                .iter()
                .any(|pattern| matches(pattern, record))
        };
        let passing: Vec<Value> = records.into_iter().filter(passes).collect();
        for batch in passing.chunks(stream.batch_size.max(1)) {
            deliver_batch(batch.to_vec(), &stream, &lambda, &dead_letters, &log).await;
        }
        iterator = answer.next_shard_iterator.ok_or("the stream has ended")?;
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn beginning(database: &Database, table: &str) -> Result<String, Error> {
    let ask = |error: dynoxide::DynoxideError| Error::from(error.to_string());
    let list = serde_json::from_value(json!({ "TableName": table }))?;
    let list = serde_json::to_value(database.list_streams(list).map_err(ask)?)?;
    let arn = list["Streams"][0]["StreamArn"].clone();
    let describe = serde_json::from_value(json!({ "StreamArn": arn }))?;
    let description = serde_json::to_value(database.describe_stream(describe).map_err(ask)?)?;
    let shard = description["StreamDescription"]["Shards"][0]["ShardId"].clone();
    let iterator =
        json!({ "StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = database
        .get_shard_iterator(serde_json::from_value(iterator)?)
        .map_err(ask)?;
    iterator
        .shard_iterator
        .ok_or_else(|| "a stream without an iterator".into())
}

/// Delivers a batch until the function has taken every record, or gives up its first record after the maximum number of
/// retries or at the maximum age. After a failure everything from the first failed record on is delivered again, as
/// Lambda does.
async fn deliver_batch(
    mut batch: Vec<Value>,
    stream: &Stream,
    lambda: &Lambda,
    dead_letters: &DeadLetters,
    log: &Log,
) {
    let (mut tries, mut backoff) = (0, FIRST_BACKOFF);
    let since = Instant::now();
    while !batch.is_empty() {
        let event = json!({ "Records": batch }).to_string();
        let Some(failed) = first_failure(&batch, lambda.invoke(Bytes::from(event)).await.ok())
        else {
            return;
        };
        if failed > 0 {
            batch.drain(..failed);
            (tries, backoff) = (0, FIRST_BACKOFF);
        }
        let is_old = stream
            .longest_wait
            .is_some_and(|wait| since.elapsed() >= wait);
        if stream.retries == Some(tries) || is_old {
            let given_up = batch.remove(0);
            log.add(
                "stream",
                &format!("given up: {}", given_up["dynamodb"]["SequenceNumber"]),
            );
            let mut dead_letters = dead_letters.lock().unwrap_or_else(PoisonError::into_inner);
            dead_letters.push(given_up);
            (tries, backoff) = (0, FIRST_BACKOFF);
            continue;
        }
        tries += 1;
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(MAX_BACKOFF);
    }
}

/// Returns the position of the first record to deliver again; 0 if the function failed.
fn first_failure(batch: &[Value], answer: Option<Bytes>) -> Option<usize> {
    let answer: Option<Value> = answer.and_then(|answer| serde_json::from_slice(&answer).ok());
    let Some(answer) = answer else { return Some(0) };
    let failures = answer["batchItemFailures"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let position = |failure: &Value| {
        let at = batch
            .iter()
            .position(|record| record["dynamodb"]["SequenceNumber"] == failure["itemIdentifier"]);
        at.unwrap_or(0) // an unknown identifier fails the whole batch
    };
    failures.iter().map(position).min()
}

/// Whether a value matches a pattern of EventBridge, as far as stream filters use them: objects, lists of alternatives,
/// `prefix` and `exists`.
fn matches(pattern: &Value, value: &Value) -> bool {
    match pattern {
        Value::Object(fields) => fields
            .iter()
            .all(|(name, pattern)| matches(pattern, &value[name])),
        Value::Array(alternatives) => alternatives.iter().any(|pattern| match pattern {
            Value::Object(rule) => {
                let prefix = rule.get("prefix").and_then(Value::as_str);
                let exists = rule.get("exists").and_then(Value::as_bool);
                let text = value.as_str().unwrap_or_default();
                prefix.is_some_and(|prefix| value.is_string() && text.starts_with(prefix))
                    || exists.is_some_and(|exists| exists != value.is_null())
            }
            exact => exact == value,
        }),
        exact => exact == value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_by_example() {
        let record =
            json!({ "eventName": "INSERT", "dynamodb": { "Keys": { "pk": { "S": "OUTBOX#1" } } } });
        for (pattern, passes) in [
            (json!({}), true),
            (json!({ "eventName": ["MODIFY", "INSERT"] }), true),
            (json!({ "eventName": ["MODIFY"] }), false),
            (
                json!({ "dynamodb": { "Keys": { "pk": { "S": [{ "prefix": "OUTBOX#" }] } } } }),
                true,
            ),
            (
                json!({ "dynamodb": { "Keys": { "pk": { "S": [{ "prefix": "USER#" }] } } } }),
                false,
            ),
            (
                json!({ "dynamodb": { "NewImage": [{ "exists": false }] } }),
                true,
            ),
            (json!({ "eventName": ["INSERT"], "other": ["x"] }), false),
        ] {
            assert_eq!(matches(&pattern, &record), passes, "{pattern}");
        }
    }

    #[test]
    fn the_lowest_failure_counts() {
        let batch =
            [1, 2, 3].map(|number| json!({ "dynamodb": { "SequenceNumber": number.to_string() } }));
        let answer = |ids: &[&str]| {
            let failures: Vec<Value> = ids
                .iter()
                .map(|id| json!({ "itemIdentifier": id }))
                .collect();
            Some(Bytes::from(
                json!({ "batchItemFailures": failures }).to_string(),
            ))
        };

        assert_eq!(first_failure(&batch, answer(&[])), None);
        assert_eq!(first_failure(&batch, answer(&["3", "2"])), Some(1));
        assert_eq!(first_failure(&batch, answer(&["9"])), Some(0));
        assert_eq!(first_failure(&batch, None), Some(0));
    }
}
