//! Starts and stops the parts of the system.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::Error;
use crate::configuration::{
    complete_keys, lambdas, lock_data_dir, parameters, secrets, write_private,
};
use crate::containers::{self, Bridge};
use crate::dynamodb::DynamoDb;
use crate::env_files;
use crate::gateway::{self, Gateway};
use crate::iam::Iam;
use crate::info::Info;
use crate::lambda::{InvokeError, Lambda};
use crate::log::Log;
use crate::mail::{Inbox, Ses};
use crate::options::Options;
use crate::redis::Redis;
use crate::stream::{self, DeadLetters};
use crate::template::Template;

/// The running parts, in the order in which they stop.
pub(crate) struct Stack {
    pub(crate) info: Info,
    gateway: tokio::task::JoinHandle<()>,
    pub(crate) lambdas: Vec<Arc<Lambda>>,
    streams: Vec<tokio::task::JoinHandle<()>>,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) iam: Iam,
    pub(crate) inbox: Inbox,
    pub(crate) dynamodb: DynamoDb,
    _ses: Ses,
    pub(crate) redis: Option<Redis>,
    _bridge: Option<Bridge>,
    _lock: Option<File>,
}

impl Stack {
    pub(crate) async fn start(options: Options) -> Result<Self, Error> {
        let lock = options.data_dir.as_deref().map(lock_data_dir).transpose()?;
        // The port comes first: starting a second stack on it should fail at once.
        let listener = TcpListener::bind(("127.0.0.1", options.port))
            .await
            .map_err(|error| format!("port {}: {error}; --port takes another one", options.port))?;
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
        let secrets = secrets(options.data_dir.as_deref())?;
        let mut chosen = complete_keys(secrets, &options.variables)?;
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

    pub(crate) async fn stop(self) {
        self.gateway.abort();
        for stream in &self.streams {
            stream.abort();
        }
        stop_all(&self.lambdas).await;
    }
}

/// Connects `sam local`'s containers to the services that functions call; prints how to use them, or why that failed.
/// It prints on standard error: standard output is reserved for the line that says the stack is ready.
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

/// Starts a task for each function that reads a stream.
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

/// Starts one process of each function, so that bad configuration shows now; returns the output of those that do not
/// start.
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
