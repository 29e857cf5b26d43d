//! One execution environment: a process, and its side of the Runtime API.

use std::process::ExitStatus;
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::runtime_api::Invocation;
use super::{InvokeError, STOP_TIMEOUT};
use crate::identity::request_id;

/// A process with its side of the Runtime API.
pub(super) struct Environment {
    pub(super) process: Child,
    pub(super) sender: mpsc::Sender<Invocation>,
    pub(super) server: JoinHandle<()>,
    /// The tasks that read the process's output.
    pub(super) outputs: Vec<JoinHandle<()>>,
}

impl Environment {
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    pub(super) async fn invoke(
        &mut self,
        event: Bytes,
        arn: String,
        timeout: Duration,
    ) -> Result<Bytes, InvokeError> {
        let (reply, answer) = oneshot::channel();
        let invocation = Invocation {
            id: request_id(),
            arn,
            deadline: SystemTime::now() + timeout,
            event,
            reply,
        };
        if self.sender.send(invocation).await.is_err() {
            return Err(InvokeError::Crashed);
        }
        tokio::select! {
            biased; // an answer counts even if the process ends right after it
            answer = answer => answer.unwrap_or(Err(InvokeError::Crashed)),
            _ = ended(&mut self.process) => Err(InvokeError::Crashed),
            () = tokio::time::sleep(timeout) => Err(InvokeError::TimedOut),
        }
    }

    pub(super) async fn stop(mut self) {
        let pid = self
            .process
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(pid) = pid.filter(|_| self.is_alive()) {
            let _ = kill_process(pid, Signal::TERM);
            let _ = tokio::time::timeout(STOP_TIMEOUT, self.process.wait()).await;
        }
        let _ = self.process.start_kill(); // no effect if it has ended
        for output in std::mem::take(&mut self.outputs) {
            let _ = tokio::time::timeout(STOP_TIMEOUT, output).await; // the rest of its output
        }
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn ended(process: &mut Child) -> Option<ExitStatus> {
    process.wait().await.ok()
}
