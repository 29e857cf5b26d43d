//! Starts and stops the parts of the system.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::Error;
use crate::configuration::{
    application, complete_keys, lambdas, lock_data_dir, parameters, refuse_unknown, secrets,
    write_private,
};
use crate::containers::{self, Bridge};
use crate::dynamodb::DynamoDb;
use crate::env_files;
use crate::gateway::{self, Authorization, Gateway, LocalPages};
use crate::iam::Iam;
use crate::info::Info;
use crate::lambda::{InvokeError, Lambda};
use crate::log::Log;
use crate::mail::{Inbox, Ses};
use crate::options::Options;
use crate::redis::Redis;
use crate::stream::{self, DeadLetters};
use crate::template::{Outputs, Template};

/// The running parts, in the order in which they stop.
pub(crate) struct Stack {
    pub(crate) info: Info,
    gateways: Vec<tokio::task::JoinHandle<()>>,
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
        let listeners = listen(options.port, options.host).await?;
        let name = public_name(&options)?;
        let url = address(&name, &listeners)?;

        let template = parameters(&options, &url, &name);
        let template = Template::read(&options.template, &template, &Outputs::new())?;
        refuse_unknown(&template, &options)?;
        let applications = options.applications.iter();
        let applications = applications.map(|path| application(path, &template));
        let applications = applications.collect::<Result<Vec<_>, _>>()?;
        let templates = std::iter::once(&template).chain(&applications);
        let rights = templates.flat_map(|template| &template.functions);
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
        // Passkeys are bound to a domain, and 127.0.0.1 is none.
        chosen.insert("RP_ID".to_owned(), "localhost".to_owned());
        chosen.insert("RP_ORIGINS".to_owned(), "http://localhost".to_owned());
        let callback = format!("{url}/api/auth/oauth/callback");
        chosen.insert("OAUTH_CALLBACK_URL".to_owned(), callback);
        chosen.insert("AWS_ENDPOINT_URL_SESV2".to_owned(), ses.url.clone());
        chosen.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), dynamodb.url.clone());
        if let Some(redis) = &redis {
            chosen.insert("REDIS_URL".to_owned(), redis.url.clone());
        }
        let mut apis = vec![Api::new(template, listeners, &options, &chosen)?];
        for (application, number) in applications.into_iter().zip(1..) {
            // 0 stays 0: any free port.
            let port = match options.port {
                0 => 0,
                port => port
                    .checked_add(number)
                    .ok_or("--port is too high for the applications")?,
            };
            let listeners = listen(port, options.host).await?;
            apis.push(Api::new(application, listeners, &options, &chosen)?);
        }
        let lambdas = apis.iter().flat_map(|api| &api.lambdas).cloned();
        let lambdas: Vec<Arc<Lambda>> = lambdas.collect();
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
            applications: apis[1..]
                .iter()
                .map(|api| address(&name, &api.listeners))
                .collect::<Result<_, _>>()?,
            origins: apis[0].template.cors.origins.clone(),
            redis_url: given("REDIS_URL"),
            dynamodb_url: dynamodb.url.clone(),
            ses_url: ses.url.clone(),
            users_table: variable("USERS_TABLE"),
            credentials_table: variable("CREDENTIALS_TABLE"),
            functions: apis[0]
                .lambdas
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
        let mut pages = Some(LocalPages {
            info: info.clone(),
            inbox: inbox.clone(),
            activity: options.log.activity.clone(),
            database: dynamodb.database.clone(),
        });
        let mut gateways = Vec::new();
        for api in apis {
            let gateway = Gateway {
                lambdas: api.lambdas,
                cors: api.template.cors,
                authorization: Authorization::new(lambdas.clone(), options.log.clone()),
                log: options.log.clone(),
                plain_cookies: options.plain_cookies,
                is_in_network: options.host.is_some(),
            };
            // Only the system has them, which is the first.
            let serving = gateway::serve(api.listeners, Arc::new(gateway), pages.take());
            gateways.push(tokio::spawn(serving));
        }
        Ok(Self {
            info,
            gateways,
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
        for gateway in &self.gateways {
            gateway.abort();
        }
        for stream in &self.streams {
            stream.abort();
        }
        stop_all(&self.lambdas).await;
    }
}

/// The API of a template, ready to serve.
struct Api {
    template: Template,
    lambdas: Vec<Arc<Lambda>>,
    listeners: Vec<TcpListener>,
}

impl Api {
    fn new(
        template: Template,
        listeners: Vec<TcpListener>,
        options: &Options,
        chosen: &BTreeMap<String, String>,
    ) -> Result<Self, Error> {
        let lambdas = lambdas(&template, options, chosen)?;
        Ok(Self {
            template,
            lambdas,
            listeners,
        })
    }
}

/// Listens on this machine's own addresses, because `localhost` may mean either, and on that of the network. The first
/// listener has the port.
async fn listen(port: u16, host: Option<IpAddr>) -> Result<Vec<TcpListener>, Error> {
    let own = IpAddr::from(Ipv4Addr::LOCALHOST);
    let first = match host {
        Some(host) if host.is_unspecified() => host,
        _ => own,
    };
    let taken = |error: std::io::Error| format!("port {port}: {error}; --port takes another one");
    // With a free port of the first address, the same port of another address may be taken.
    for _ in 0..20 {
        let mut listeners = vec![TcpListener::bind((first, port)).await.map_err(taken)?];
        let chosen = listeners[0].local_addr()?.port();
        let further = [Some(Ipv6Addr::LOCALHOST.into()), host];
        let mut is_free = true;
        for address in further
            .into_iter()
            .flatten()
            .filter(|address| *address != first)
        {
            match TcpListener::bind((address, chosen)).await {
                Ok(listener) => listeners.push(listener),
                Err(error) if error.kind() == ErrorKind::AddrInUse && port == 0 => is_free = false,
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    return Err(taken(error).into());
                }
                // A machine without IPv6.
                Err(_) if Some(address) != host => {}
                Err(error) => return Err(format!("--host {address}: {error}").into()),
            }
        }
        if is_free {
            return Ok(listeners);
        }
    }
    Err("no port is free on all addresses".into())
}

/// Returns the name of this machine in the stack's addresses.
fn public_name(options: &Options) -> Result<String, Error> {
    if let Some(name) = &options.name {
        return Ok(name.clone());
    }
    let address = match options.host {
        None => Ipv4Addr::LOCALHOST.into(),
        Some(host) if host.is_unspecified() => network_address()?,
        Some(host) => host,
    };
    Ok(match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    })
}

/// Returns the address of this machine in its network: the one from which it would send. Nothing is sent.
fn network_address() -> Result<IpAddr, Error> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let documentation = Ipv4Addr::new(192, 0, 2, 1); // RFC 5737
    let connected = socket.connect((documentation, 9));
    connected.map_err(|error| format!("this machine is in no network: {error}"))?;
    Ok(socket.local_addr()?.ip())
}

fn address(name: &str, listeners: &[TcpListener]) -> Result<String, Error> {
    let first = listeners.first().ok_or("no listener")?;
    Ok(format!("http://{name}:{}", first.local_addr()?.port()))
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
