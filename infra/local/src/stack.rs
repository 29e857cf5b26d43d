//! Starts the whole system, and stops it again, whatever happens.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use axum::body::Bytes;
use dynoxide::{Database, ImportOptions};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::Error;
use crate::build::{self, Binaries};
use crate::containers::{self, Bridge};
use crate::dynamodb::DynamoDb;
use crate::env_files;
use crate::gateway::{self, Gateway};
use crate::iam::Iam;
use crate::lambda::{InvokeError, Lambda};
use crate::log::Log;
use crate::mail::{Inbox, Mail, Ses};
use crate::redis::Redis;
use crate::stream::{self, DeadLetters};
use crate::template::Template;

/// The secrets that the stack makes up, by their variables' names.
const SECRETS: [&str; 5] = [
    "JWT_SECRET",
    "JWT_REFRESH_SECRET",
    "GUARD_SECRET",
    "EMAIL_TOKEN_SECRET",
    "DATA_ENCRYPTION_KEY",
];

/// Whose pages may call the API unless it is told otherwise: those of this machine, whichever port a development server has.
const OWN_ORIGINS: [&str; 6] = [
    "http://localhost:*",
    "http://127.0.0.1:*",
    "http://[::1]:*",
    "https://localhost:*",
    "https://127.0.0.1:*",
    "https://[::1]:*",
];

/// How the stack is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The template that describes it.
    pub template: PathBuf,
    /// The functions' binaries, by name.
    pub binaries: Binaries,
    /// The API's port; 0 for any free one.
    pub port: u16,
    /// Where data outlives the stack; otherwise it is gone with it.
    pub data_dir: Option<PathBuf>,
    /// Variables that are given to every function that has them, instead of what they would be.
    pub variables: BTreeMap<String, String>,
    /// Where the functions' variables are written to, for `sam local invoke --env-vars`.
    pub sam_env: Option<PathBuf>,
    /// Where they are written to for `cargo lambda watch --env-file`.
    pub env_file: Option<PathBuf>,
    /// Where the functions' lines go.
    pub log: Log,
}

impl Options {
    /// The workspace's own system with these binaries, on a free port, in memory.
    pub fn new(binaries: Binaries, log: Log) -> Self {
        Self {
            template: build::workspace().join("template.yaml"),
            binaries,
            port: 0,
            data_dir: None,
            variables: BTreeMap::new(),
            sam_env: None,
            env_file: None,
            log,
        }
    }
}

/// What `/_local/info` tells.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// Where the API answers.
    pub url: String,
    /// Where the sessions are.
    pub redis_url: String,
    /// Where the tables are.
    pub dynamodb_url: String,
    /// Where mails are handed over.
    pub ses_url: String,
    /// The table of users.
    pub users_table: String,
    /// The table of credentials.
    pub credentials_table: String,
    /// The functions, each with its routes.
    pub functions: BTreeMap<String, Vec<String>>,
}

/// A running system. It lives in a thread of its own and stops when this value is dropped, also
/// while a test panics.
pub struct Local {
    info: Info,
    log: Log,
    lambdas: Vec<Arc<Lambda>>,
    redis_process_id: Option<u32>,
    inbox: Inbox,
    dead_letters: DeadLetters,
    iam: Iam,
    database: Database,
    runtime: tokio::runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Local {
    /// Starts the system; it answers when this returns.
    ///
    /// # Errors
    /// What keeps it from starting; of functions that do not start, all of them.
    pub fn start(options: Options) -> Result<Self, Error> {
        let log = options.log.clone();
        let (started, result) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || run(options, &started, stopped));
        let Started {
            info,
            lambdas,
            redis_process_id,
            inbox,
            dead_letters,
            iam,
            database,
            runtime,
        } = result
            .recv()
            .map_err(|_| "the stack ended while starting")??;
        Ok(Self {
            info,
            log,
            lambdas,
            redis_process_id,
            inbox,
            dead_letters,
            iam,
            database,
            runtime,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where everything is.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// What the functions have printed so far, if it is kept.
    pub fn log_lines(&self) -> Vec<String> {
        self.log.lines()
    }

    /// The mails that were sent, newest first.
    pub fn mails(&self) -> Vec<Mail> {
        self.inbox.mails()
    }

    /// The stream records that were given up.
    pub fn dead_letters(&self) -> Vec<serde_json::Value> {
        let dead_letters = self.dead_letters.lock();
        dead_letters.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts items, as DynamoDB's JSON has them, into a table: all at once, and past roles and streams.
    ///
    /// # Errors
    /// For what is no item.
    pub fn import(&self, table: &str, items: Vec<serde_json::Value>) -> Result<(), Error> {
        let items = items.into_iter().map(serde_json::from_value);
        let items = items.collect::<Result<_, _>>()?;
        let imported = self
            .database
            .import_items(table, items, ImportOptions::default());
        imported.map_err(|error| format!("DynamoDB: {error}"))?;
        Ok(())
    }

    /// The functions' roles, and what has been done under them.
    pub fn iam(&self) -> &Iam {
        &self.iam
    }

    /// Hands an event to a function as `aws lambda invoke` does.
    ///
    /// # Errors
    /// Where the function gives no answer.
    pub async fn invoke(&self, function: &str, event: Vec<u8>) -> Result<Vec<u8>, InvokeError> {
        let lambda = self
            .lambda(function)
            .ok_or_else(|| InvokeError::Init(format!("there is no function {function}")))?
            .clone();
        let invocation = self
            .runtime
            .spawn(async move { lambda.invoke(Bytes::from(event)).await });
        invocation
            .await
            .map_err(|_| InvokeError::Crashed)?
            .map(|answer| answer.to_vec())
    }

    /// The processes of a function that are waiting for work.
    pub fn idle_processes(&self, function: &str) -> Vec<u32> {
        let lambda = self.lambda(function);
        lambda
            .map(|lambda| lambda.idle_processes())
            .unwrap_or_default()
    }

    /// A function with its environments.
    pub fn lambda(&self, function: &str) -> Option<&Arc<Lambda>> {
        let mut lambdas = self.lambdas.iter();
        lambdas.find(|lambda| lambda.function.name == function)
    }

    /// The children: Redis' guard and the functions that wait for work.
    pub fn process_ids(&self) -> Vec<u32> {
        let functions = self
            .lambdas
            .iter()
            .flat_map(|lambda| lambda.idle_processes());
        self.redis_process_id.into_iter().chain(functions).collect()
    }

    /// Stops every part and waits until that is done.
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

/// What the stack's thread reports once all is up.
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
        let _ = stopped.await; // also when the sender is dropped
        stack.stop().await;
    });
}

/// The parts, in the order in which they are stopped.
struct Stack {
    info: Info,
    gateway: tokio::task::JoinHandle<()>,
    lambdas: Vec<Arc<Lambda>>,
    streams: Vec<tokio::task::JoinHandle<()>>,
    dead_letters: DeadLetters,
    iam: Iam,
    inbox: Inbox,
    dynamodb: DynamoDb,
    _ses: Ses,
    redis: Option<Redis>,
    _bridge: Option<Bridge>,
    _lock: Option<File>,
}

impl Stack {
    async fn start(options: Options) -> Result<Self, Error> {
        let lock = options.data_dir.as_deref().map(lock_data_dir).transpose()?;
        // First of all the port: whoever runs two stacks on it should learn so at once.
        let listener = TcpListener::bind(("127.0.0.1", options.port))
            .await
            .map_err(|error| format!("port {}: {error}", options.port))?;
        let url = format!("http://{}", listener.local_addr()?);

        let template = Template::read(&options.template, &parameters(&options.variables))?;
        let rights = template.functions.iter();
        let rights = rights.map(|function| (function.name.clone(), function.rights.clone()));
        let iam = Iam::new(rights.collect());
        let data = |name: &str| options.data_dir.as_ref().map(|folder| folder.join(name));
        let dynamodb = DynamoDb::start(
            &template.tables,
            data("dynamodb.sqlite").as_deref(),
            iam.clone(),
        )
        .await?;
        let redis = match options.variables.get("REDIS_URL") {
            Some(_) => None,
            None => Some(Redis::start(data("redis").as_deref(), &[])?),
        };
        let mut chosen = secrets(options.data_dir.as_deref())?;
        let inbox = Inbox::default();
        let ses = Ses::start(inbox.clone()).await?;
        chosen.insert("JWT_ISSUER".to_owned(), url.clone());
        chosen.insert("FRONTEND_URL".to_owned(), format!("{url}/_local"));
        chosen.insert("AWS_ENDPOINT_URL_SESV2".to_owned(), ses.url.clone());
        chosen.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), dynamodb.url.clone());
        if let Some(redis) = &redis {
            chosen.insert("REDIS_URL".to_owned(), redis.url.clone());
        }
        let lambdas = lambdas(&template, &options, &chosen)?;
        let functions = || lambdas.iter().map(|lambda| &**lambda);
        let bridge = match &options.sam_env {
            Some(file) => {
                write_private(file, &env_files::for_sam(functions(), containers::HOST)?)?;
                let called = [
                    "AWS_ENDPOINT_URL_DYNAMODB",
                    "AWS_ENDPOINT_URL_SESV2",
                    "REDIS_URL",
                ];
                let called = called.iter().filter_map(|name| chosen.get(*name));
                let called: Vec<&str> = called.map(String::as_str).collect();
                bridge(file, &called).await
            }
            None => None,
        };
        if let Some(file) = &options.env_file {
            write_private(file, &env_files::for_cargo_lambda(functions()))?;
        }
        let start_errors = warm_up(&lambdas).await;
        if !start_errors.is_empty() {
            stop_all(&lambdas).await;
            return Err(start_errors.join("\n").into());
        }

        let variable = |name: &str| {
            lambdas
                .iter()
                .find_map(|lambda| lambda.function.variables.get(name).cloned())
                .unwrap_or_default()
        };
        let given = |name: &str| {
            options
                .variables
                .get(name)
                .or_else(|| chosen.get(name))
                .cloned()
                .unwrap_or_default()
        };
        let info = Info {
            url,
            redis_url: given("REDIS_URL"),
            dynamodb_url: dynamodb.url.clone(),
            ses_url: ses.url.clone(),
            users_table: variable("USERS_TABLE"),
            credentials_table: variable("CREDENTIALS_TABLE"),
            functions: lambdas
                .iter()
                .map(|lambda| {
                    (
                        lambda.function.name.clone(),
                        lambda.function.routes.iter().map(|r| r.key()).collect(),
                    )
                })
                .collect(),
        };
        let dead_letters = DeadLetters::default();
        let streams = read_streams(&lambdas, &dynamodb, &dead_letters, &options.log);
        let gateway = Gateway {
            lambdas: lambdas.clone(),
            cors: template.cors,
            info: info.clone(),
            inbox: inbox.clone(),
            log: options.log.clone(),
        };
        let gateway = tokio::spawn(gateway::serve(listener, Arc::new(gateway)));
        Ok(Self {
            info,
            gateway,
            lambdas,
            streams,
            dead_letters,
            iam,
            inbox,
            dynamodb,
            _ses: ses,
            redis,
            _bridge: bridge,
            _lock: lock,
        })
    }

    async fn stop(self) {
        self.gateway.abort();
        for stream in &self.streams {
            stream.abort();
        }
        stop_all(&self.lambdas).await;
    }
}

/// The way of `sam local`'s containers to what functions call; says how to take it, or why there is none. On standard
/// error: standard output is for the line that says the stack is ready.
async fn bridge(file: &Path, called: &[&str]) -> Option<Bridge> {
    match Bridge::open(called).await {
        Ok(bridge) => {
            let (file, add_host) = (file.display(), containers::ADD_HOST);
            eprintln!(
                "for a function in Lambda's container, in another terminal: sam build && \
                 sam local invoke Register -e events/register.json --env-vars {file} {add_host}"
            );
            Some(bridge)
        }
        Err(error) => {
            eprintln!("containers cannot reach this stack, Docker's bridge was not found: {error}");
            None
        }
    }
}

/// A task for each function that reads a stream.
fn read_streams(
    lambdas: &[Arc<Lambda>],
    dynamodb: &DynamoDb,
    dead_letters: &DeadLetters,
    log: &Log,
) -> Vec<tokio::task::JoinHandle<()>> {
    let readers = lambdas.iter().filter_map(|lambda| {
        let stream = lambda.function.stream.clone()?;
        let (database, lambda) = (dynamodb.database.clone(), lambda.clone());
        let (dead_letters, log) = (dead_letters.clone(), log.clone());
        Some(tokio::spawn(async move {
            let reading = stream::deliver(database, stream, lambda, dead_letters, log.clone());
            if let Err(error) = reading.await {
                log.add("stream", &error.to_string());
            }
        }))
    });
    readers.collect()
}

async fn stop_all(lambdas: &[Arc<Lambda>]) {
    let stopping: Vec<_> = lambdas
        .iter()
        .cloned()
        .map(|lambda| tokio::spawn(async move { lambda.stop().await }))
        .collect();
    for task in stopping {
        let _ = task.await;
    }
}

/// The template's parameters: the cache is here, not in the cloud, and some variables of the stack stand
/// for others.
fn parameters(variables: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let origins = variables.get("CORS_ALLOWED_ORIGINS").cloned();
    let origins = origins.unwrap_or_else(|| OWN_ORIGINS.join(","));
    let cache = ("Cache".to_owned(), "none".to_owned());
    BTreeMap::from([("AllowedOrigins".to_owned(), origins), cache])
}

/// The functions with their variables: the template's, then what the stack chooses, then what it
/// was told, each only where the template gives the function such a variable.
fn lambdas(
    template: &Template,
    options: &Options,
    chosen: &BTreeMap<String, String>,
) -> Result<Vec<Arc<Lambda>>, Error> {
    let is_known = |name: &String| {
        name == "CORS_ALLOWED_ORIGINS"
            || name.starts_with("AWS_")
            || template
                .functions
                .iter()
                .any(|function| function.variables.contains_key(name))
    };
    let unknown: Vec<&String> = options
        .variables
        .keys()
        .filter(|name| !is_known(name))
        .collect();
    if !unknown.is_empty() {
        return Err(format!("no function has a variable {unknown:?}").into());
    }
    let mut lambdas = Vec::new();
    for function in &template.functions {
        let binary = options.binaries.get(&function.name);
        let binary = binary
            .ok_or_else(|| format!("the function {} is not built", function.name))?
            .clone();
        let mut variables = function.variables.clone();
        // Secrets that are in the cloud alone: here none has been replaced yet.
        for value in variables.values_mut() {
            if value.starts_with("{{resolve:secretsmanager:") {
                value.clear();
            }
        }
        for (name, value) in chosen.iter().chain(&options.variables) {
            if name.starts_with("AWS_") || variables.contains_key(name) {
                variables.insert(name.clone(), value.clone());
            }
        }
        lambdas.push(Arc::new(Lambda::new(
            function.clone(),
            binary,
            variables,
            options.log.clone(),
        )));
    }
    Ok(lambdas)
}

/// One process of each function, so that bad configuration is shown now; what they said instead of
/// getting ready.
async fn warm_up(lambdas: &[Arc<Lambda>]) -> Vec<String> {
    let starting: Vec<_> = lambdas
        .iter()
        .cloned()
        .map(|lambda| {
            tokio::spawn(async move { (lambda.function.name.clone(), lambda.warm_up().await) })
        })
        .collect();
    let mut errors = Vec::new();
    for task in starting {
        match task.await {
            Ok((_, Ok(()))) => {}
            Ok((name, Err(InvokeError::Init(printed)))) => {
                errors.push(format!("{name}: {printed}"))
            }
            Ok((name, Err(error))) => errors.push(format!("{name}: {error:?}")),
            Err(error) => errors.push(error.to_string()),
        }
    }
    errors
}

/// One stack at a time per folder: two would write into each other's files.
fn lock_data_dir(folder: &Path) -> Result<File, Error> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let file = File::create(folder.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(format!("{} is in use by another stack", folder.display()).into())
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Generated secrets; with a folder those of the last time, so that tokens stay valid.
fn secrets(folder: Option<&Path>) -> Result<BTreeMap<String, String>, Error> {
    let file = folder.map(|folder| folder.join("secrets.json"));
    let mut secrets: BTreeMap<String, String> = match file.as_ref().filter(|file| file.exists()) {
        Some(file) => serde_json::from_slice(&std::fs::read(file)?)
            .map_err(|error| format!("{}: {error}", file.display()))?,
        None => BTreeMap::new(),
    };
    let known = secrets.len();
    for name in SECRETS {
        if !secrets.contains_key(name) {
            let mut bytes = [0_u8; 32];
            aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "no randomness")?;
            secrets.insert(name.to_owned(), hex::encode(bytes));
        }
    }
    if let Some(file) = file.filter(|_| secrets.len() > known) {
        write_private(&file, &serde_json::to_vec_pretty(&secrets)?)?;
    }
    Ok(secrets)
}

/// A file that only its owner may read, there whole or not at all.
fn write_private(file: &Path, content: &[u8]) -> Result<(), Error> {
    let folder = file.parent().ok_or("a file without a folder")?;
    let folder = Some(folder).filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder)
        .map_err(|error| format!("{}: {error}", file.display()))?; // mode 0600
    std::io::Write::write_all(&mut temporary, content)?;
    temporary.persist(file)?;
    Ok(())
}
