//! Lambda: execution environments with the Runtime API, one process and one listener each, that handle one invocation
//! at a time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::{RwLock, mpsc, watch};
use tokio::task::JoinHandle;

mod environment;
mod runtime_api;

use environment::Environment;
use runtime_api::RuntimeApi;

use crate::identity::{LIVE, REGION, function_arn};
use crate::log::Log;
use crate::template::Function;

/// How long an environment may take until its first `next` (Lambda's own limit).
const INIT_TIMEOUT: Duration = Duration::from_secs(10);
/// The time that a function has between SIGTERM and SIGKILL.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// A function and its execution environments.
pub struct Lambda {
    /// The function in the template.
    pub function: Function,
    binary: PathBuf,
    variables: BTreeMap<String, String>,
    log: Log,
    idle: Mutex<Vec<Environment>>,
    /// Every invocation holds it for reading, so that stopping can wait for the last one.
    running: RwLock<()>,
}

/// The reason why an invocation has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvokeError {
    /// No environment started; the text is what the process printed.
    Init(String),
    /// The process ended.
    Crashed,
    /// It took longer than the template's timeout.
    TimedOut,
    /// The function reported a runtime error.
    Failed,
}

impl Lambda {
    /// Creates a function without environments.
    pub fn new(
        function: Function,
        binary: PathBuf,
        variables: BTreeMap<String, String>,
        log: Log,
    ) -> Self {
        Self {
            function,
            binary,
            variables,
            log,
            idle: Mutex::default(),
            running: RwLock::new(()),
        }
    }

    /// Returns the variables that its environments get in addition to Lambda's own.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// Starts an environment ahead of the first invocation.
    ///
    /// # Errors
    /// [`InvokeError::Init`] with the output of a process that does not get ready.
    pub async fn warm_up(&self) -> Result<(), InvokeError> {
        let environment = self.start().await?;
        lock(&self.idle).push(environment);
        Ok(())
    }

    /// Invokes the function by its alias `live`, as API Gateway does.
    ///
    /// # Errors
    /// If the function gives no answer.
    pub async fn invoke(&self, event: Bytes) -> Result<Bytes, InvokeError> {
        self.invoke_alias(LIVE, event).await
    }

    /// Hands an event to an idle environment, or to a new one.
    ///
    /// # Errors
    /// If the function gives no answer.
    pub async fn invoke_alias(&self, alias: &str, event: Bytes) -> Result<Bytes, InvokeError> {
        let arn = function_arn(&self.function.name, alias);
        let _running = self.running.read().await;
        let mut environment = match self.take_idle() {
            Some(environment) => environment,
            None => self.start().await?,
        };
        let result = environment
            .invoke(
                event,
                arn,
                Duration::from_secs(self.function.timeout_seconds),
            )
            .await;
        // After a crash or a timeout the environment and its process are dropped.
        if matches!(result, Ok(_) | Err(InvokeError::Failed)) {
            lock(&self.idle).push(environment);
        }
        result
    }

    /// Returns the ids of the processes that wait for work.
    pub fn idle_processes(&self) -> Vec<u32> {
        let idle = lock(&self.idle);
        idle.iter()
            .filter_map(|environment| environment.process.id())
            .collect()
    }

    /// Waits for running invocations, then ends every process.
    pub async fn stop(&self) {
        let _ = tokio::time::timeout(STOP_TIMEOUT, self.running.write()).await;
        let environments = std::mem::take(&mut *lock(&self.idle));
        let stopping: Vec<_> = environments
            .into_iter()
            .map(|environment| tokio::spawn(environment.stop()))
            .collect();
        for task in stopping {
            let _ = task.await;
        }
    }

    /// Takes the environment used last, which is the warmest; drops those whose process has ended.
    fn take_idle(&self) -> Option<Environment> {
        let mut idle = lock(&self.idle);
        std::iter::from_fn(|| idle.pop())
            .find_map(|mut environment| environment.is_alive().then_some(environment))
    }

    async fn start(&self) -> Result<Environment, InvokeError> {
        let failed = |error: std::io::Error| InvokeError::Init(error.to_string());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (sender, receiver) = mpsc::channel(1);
        let (became_ready, mut ready) = watch::channel(false);
        let api = Arc::new(RuntimeApi::new(receiver, became_ready));
        let server = tokio::spawn(runtime_api::serve(listener, api));

        let mut command = Command::new(&self.binary);
        command
            .env_clear()
            .envs(self.runtime_variables(&address.to_string()))
            .envs(&self.variables);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut process = command.spawn().map_err(failed)?;
        let printed = Arc::new(Mutex::new(Vec::new()));
        let outputs: Vec<_> = [
            process
                .stdout
                .take()
                .map(|output| self.follow(output, &printed)),
            process
                .stderr
                .take()
                .map(|output| self.follow(output, &printed)),
        ]
        .into_iter()
        .flatten()
        .collect();

        let is_ready = tokio::select! {
            ready = tokio::time::timeout(INIT_TIMEOUT, ready.wait_for(|ready| *ready)) => ready.is_ok(),
            _ = process.wait() => false,
        };
        let environment = Environment {
            process,
            sender,
            server,
            outputs,
        };
        if is_ready {
            return Ok(environment);
        }
        environment.stop().await;
        let printed = lock(&printed).join("\n");
        Err(InvokeError::Init(if printed.is_empty() {
            "it ended without a word".to_owned()
        } else {
            printed
        }))
    }

    /// Returns the variables that Lambda sets. The template's variables are set later and may replace them: a test
    /// gives a function other credentials.
    fn runtime_variables(&self, api: &str) -> [(&'static str, String); 9] {
        [
            ("AWS_LAMBDA_RUNTIME_API", api.to_owned()),
            ("AWS_LAMBDA_FUNCTION_NAME", self.function.name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            (
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
                self.function.memory_mib.to_string(),
            ),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON".to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", self.function.name.clone()), // the caller's identity for IAM
            ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
            ("TZ", ":UTC".to_owned()),
        ]
    }

    fn follow(
        &self,
        output: impl AsyncRead + Unpin + Send + 'static,
        printed: &Arc<Mutex<Vec<String>>>,
    ) -> JoinHandle<()> {
        let (log, name, printed) = (
            self.log.clone(),
            self.function.name.clone(),
            printed.clone(),
        );
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            let mut request_id = String::new();
            while let Ok(Some(line)) = lines.next_line().await {
                log.add_line(&name, &line, &mut request_id);
                let mut printed = lock(&printed);
                // Only the output of a process that does not start is shown.
                if printed.len() < 20 {
                    printed.push(line);
                }
            }
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
