//! The functions' output: shown to the user or kept for tests.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// The destination of the functions' lines.
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

    /// Adds a line.
    pub fn add(&self, function: &str, line: &str) {
        match &self.kept {
            Some(lines) => lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(format!("{function}: {line}")),
            // If standard error is closed, the line is lost.
            None => drop(writeln!(std::io::stderr(), "{function}: {line}")),
        }
    }

    /// Returns the lines that were kept, each after its function's name.
    pub fn lines(&self) -> Vec<String> {
        self.kept
            .as_ref()
            .map(|lines| lines.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .unwrap_or_default()
    }
}
