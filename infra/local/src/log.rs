//! What the functions print: shown to the person, kept for tests.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the functions' lines go.
#[derive(Clone, Debug)]
pub struct Log {
    kept: Option<Arc<Mutex<Vec<String>>>>,
}

impl Log {
    /// Shows every line on standard error.
    pub fn shown() -> Self {
        Self { kept: None }
    }

    /// Keeps every line for [`Log::lines`].
    pub fn kept() -> Self {
        Self {
            kept: Some(Arc::default()),
        }
    }

    /// Takes a line.
    pub fn add(&self, function: &str, line: &str) {
        match &self.kept {
            Some(lines) => lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(format!("{function}: {line}")),
            // Nobody is left to tell when standard error is closed.
            None => drop(writeln!(std::io::stderr(), "{function}: {line}")),
        }
    }

    /// The lines that were kept, each after its function's name.
    pub fn lines(&self) -> Vec<String> {
        self.kept
            .as_ref()
            .map(|lines| lines.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .unwrap_or_default()
    }
}
