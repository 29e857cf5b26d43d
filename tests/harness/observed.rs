//! Records what clients have sent and received, to compare it with the logs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// The secrets and the requests of a world's clients.
#[derive(Clone, Default)]
pub struct Observed {
    /// Texts that must not occur in any log.
    secrets: Arc<Mutex<BTreeSet<String>>>,
    /// The ids of answered requests; each must appear in the log.
    requests: Arc<Mutex<BTreeSet<String>>>,
}

impl Observed {
    pub fn secret(&self, secret: &str) {
        lock(&self.secrets).insert(secret.to_owned());
    }

    pub fn answered(&self, request_id: &str) {
        lock(&self.requests).insert(request_id.to_owned());
    }

    /// Returns the ids of the answered requests.
    pub fn requests(&self) -> BTreeSet<String> {
        lock(&self.requests).clone()
    }

    /// Returns the lines that contain a secret, in any case, verbatim or as JSON escapes it.
    pub fn found_in(&self, lines: &[String]) -> Vec<String> {
        let forms = |secret: &String| {
            let secret = secret.to_lowercase();
            let json = Value::from(secret.as_str()).to_string();
            [secret, json.trim_matches('"').to_owned()]
        };
        let secrets: BTreeSet<String> = lock(&self.secrets).iter().flat_map(forms).collect();
        let occurs = |line: &&String| {
            let line = line.to_lowercase();
            secrets.iter().any(|secret| line.contains(secret))
        };
        lines.iter().filter(occurs).cloned().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
