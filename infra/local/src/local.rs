//! The handle of a running system.

use std::sync::mpsc;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use axum::body::Bytes;
use dynoxide::{Database, ImportOptions};
use tokio::sync::oneshot;

use crate::Error;
use crate::iam::Iam;
use crate::identity::LIVE;
use crate::info::Info;
use crate::lambda::{InvokeError, Lambda};
use crate::log::Log;
use crate::mail::{Inbox, Mail};
use crate::options::Options;
use crate::redis::Redis;
use crate::stack::Stack;
use crate::stream::DeadLetters;

/// A running system. It has its own thread and stops when this value is dropped, even when a test panics.
pub struct Local {
    parts: Started,
    log: Log,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Local {
    /// Starts the system; it is ready when this returns.
    ///
    /// # Errors
    /// The reason why it does not start; if functions do not start, the reasons of all of them.
    pub fn start(options: Options) -> Result<Self, Error> {
        let log = options.log.clone();
        let (started, result) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || run(options, &started, stopped));
        let parts = result
            .recv()
            .map_err(|_| "the stack ended while starting")??;
        Ok(Self {
            parts,
            log,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Returns the addresses and names of everything.
    pub fn info(&self) -> &Info {
        &self.parts.info
    }

    /// Returns the functions' log so far, if it is kept.
    pub fn log_lines(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Returns the mails that were sent, newest first.
    pub fn mails(&self) -> Vec<Mail> {
        self.parts.inbox.mails()
    }

    /// Returns the stream records that were given up.
    pub fn dead_letters(&self) -> Vec<serde_json::Value> {
        let dead_letters = self.parts.dead_letters.lock();
        dead_letters.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes items in DynamoDB's JSON into a table, all at once. Roles and streams do not apply.
    ///
    /// # Errors
    /// If a value is not an item, or the table does not take it.
    pub fn import(&self, table: &str, items: Vec<serde_json::Value>) -> Result<(), Error> {
        let items = items.into_iter().map(serde_json::from_value);
        let items = items.collect::<Result<_, _>>()?;
        let imported = self
            .parts
            .database
            .import_items(table, items, ImportOptions::default());
        imported.map_err(|error| format!("DynamoDB: {error}"))?;
        Ok(())
    }

    /// Returns the functions' rights, granted and used.
    pub fn iam(&self) -> &Iam {
        &self.parts.iam
    }

    /// Invokes a function as `aws lambda invoke` does: by its name or, with a colon between, by its name and an alias.
    ///
    /// # Errors
    /// If there is no such function, or it gives no answer.
    pub async fn invoke(&self, function: &str, event: Vec<u8>) -> Result<Vec<u8>, InvokeError> {
        let (name, alias) = function.split_once(':').unwrap_or((function, LIVE));
        let alias = alias.to_owned();
        let lambda = self
            .lambda(name)
            .ok_or_else(|| InvokeError::Init(format!("there is no function {function}")))?
            .clone();
        let invocation = self
            .parts
            .runtime
            .spawn(async move { lambda.invoke_alias(&alias, Bytes::from(event)).await });
        invocation
            .await
            .map_err(|_| InvokeError::Crashed)?
            .map(|answer| answer.to_vec())
    }

    /// Returns the ids of a function's processes that wait for work.
    pub fn idle_processes(&self, function: &str) -> Vec<u32> {
        let lambda = self.lambda(function);
        lambda
            .map(|lambda| lambda.idle_processes())
            .unwrap_or_default()
    }

    /// Returns a function with its environments.
    pub fn lambda(&self, function: &str) -> Option<&Arc<Lambda>> {
        let mut lambdas = self.parts.lambdas.iter();
        lambdas.find(|lambda| lambda.function.name == function)
    }

    /// Returns the ids of the child processes: Redis's guard and the idle functions.
    pub fn process_ids(&self) -> Vec<u32> {
        let functions = self
            .parts
            .lambdas
            .iter()
            .flat_map(|lambda| lambda.idle_processes());
        self.parts
            .redis_process_id
            .into_iter()
            .chain(functions)
            .collect()
    }

    /// Stops every part and waits for the end.
    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The parts that the stack's thread hands out after the start.
struct Started {
    info: Info,
    lambdas: Vec<Arc<Lambda>>,
    redis_process_id: Option<u32>,
    inbox: Inbox,
    dead_letters: DeadLetters,
    iam: Iam,
    database: Database,
    runtime: tokio::runtime::Handle,
}

fn run(
    options: Options,
    started: &mpsc::Sender<Result<Started, Error>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return drop(started.send(Err(error.into()))),
    };
    runtime.block_on(async {
        let stack = match Stack::start(options).await {
            Ok(stack) => stack,
            Err(error) => return drop(started.send(Err(error))),
        };
        let _ = started.send(Ok(Started {
            info: stack.info.clone(),
            lambdas: stack.lambdas.clone(),
            redis_process_id: stack.redis.as_ref().map(Redis::process_id),
            inbox: stack.inbox.clone(),
            dead_letters: stack.dead_letters.clone(),
            iam: stack.iam.clone(),
            database: stack.dynamodb.database.clone(),
            runtime: tokio::runtime::Handle::current(),
        }));
        let _ = stopped.await; // returns also when the sender is dropped
        stack.stop().await;
    });
}
