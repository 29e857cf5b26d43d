//! The connection to Redis or Valkey. It is opened with the first command, or with TLS when the environment starts.
//! Every wait is bounded, and a connection that does not answer is replaced at once. While a Lambda environment is
//! frozen, its sockets can die unnoticed, and the client's own reconnection does not react to a time-out; this module
//! does.
//!
//! A command may be sent twice: without an answer it is unknown whether the command ran. Every command and script must
//! therefore have the same effect the second time (idempotency).

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo, Pipeline,
    RedisError, RedisFuture, RedisResult, ServerErrorKind, TlsCertificates, ToRedisArgs, Value,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::Error;
use crate::config::Environment;

/// The time to connect. Resolving a name, two TLS handshakes, authenticating and reading a cluster's slot map take a
/// while on a fraction of a CPU. The request's remaining time bounds it as well.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The time to connect when no request waits. Lambda allows ten seconds for the start of an environment.
const EARLY_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);

/// The address of Redis.
struct Config {
    /// A `redis://` or `rediss://` (TLS) URL; it may contain a password.
    url: SecretString,
    /// Whether the server is a cluster, which redirects commands.
    is_cluster: bool,
    /// The certificate authorities (PEM) to trust instead of the public ones.
    ca: Option<String>,
}

/// The URL is not a Redis URL.
struct InvalidUrl;

/// A connection to Redis that reconnects by itself.
pub struct Redis {
    server: Server,
    connects_early: bool,
    connection: Mutex<Option<Connection>>,
}

enum Server {
    Standalone(Box<Client>),
    Cluster(Box<ClusterClient>),
}

enum Call<'a> {
    Command(&'a Cmd),
    Script(&'a ScriptCall<'a>),
}

/// A Lua script. It must list every key that it touches in its `KEYS`: a serverless cache refuses other keys.
pub struct Script {
    text: &'static str,
    digest: String,
    /// The commands that run the script, by digest and by text. Redis users with read-only permissions may only use the
    /// read-only variants.
    commands: [&'static str; 2],
}

/// A script with its keys and arguments.
pub struct ScriptCall<'a> {
    script: &'a Script,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl Script {
    /// Creates a script from its text.
    pub fn new(text: &'static str) -> Self {
        let digest = redis::Script::new(text).get_hash().to_owned();
        Self {
            text,
            digest,
            commands: ["EVALSHA", "EVAL"],
        }
    }

    /// Creates a script that writes nothing.
    pub fn read_only(text: &'static str) -> Self {
        Self {
            commands: ["EVALSHA_RO", "EVAL_RO"],
            ..Self::new(text)
        }
    }

    /// Starts a call, without keys and arguments.
    pub fn call(&self) -> ScriptCall<'_> {
        ScriptCall {
            script: self,
            keys: Vec::new(),
            arguments: Vec::new(),
        }
    }
}

impl ScriptCall<'_> {
    /// Adds a key.
    pub fn key(&mut self, key: impl Into<String>) -> &mut Self {
        self.keys.push(key.into());
        self
    }

    /// Adds an argument.
    pub fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        argument.write_redis_args(&mut self.arguments);
        self
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command
            .arg(script)
            .arg(self.keys.len())
            .arg(&self.keys)
            .arg(&self.arguments);
        command
    }

    /// Runs the script by its digest. If the node does not know it, sends the text, which the node then keeps. (`SCRIPT
    /// LOAD` would go to all nodes of a cluster, and fail if any of them fails.)
    async fn send<T: FromRedisValue>(&self, connection: &mut Connection) -> RedisResult<T> {
        let [by_digest, by_text] = self.script.commands;
        let by_digest = self.command(by_digest, &self.script.digest);
        match by_digest.query_async(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let whole = self.command(by_text, self.script.text);
                whole.query_async(connection).await
            }
            result => result,
        }
    }
}

impl Redis {
    /// Reads `REDIS_URL`, `REDIS_CLUSTER` and `REDIS_CA`. All stores share one connection.
    pub fn from_env(environment: &mut Environment) -> Arc<Self> {
        environment.singleton(|environment| Arc::new(Self::configured(environment)))
    }

    fn configured(environment: &mut Environment) -> Self {
        let url = environment.text("REDIS_URL");
        if environment.is_production() && url.starts_with("redis://") {
            environment.refuse("REDIS_URL must be a rediss:// URL, with TLS, in prod");
        }
        let config = Config {
            url: SecretString::from(url),
            is_cluster: environment.boolean("REDIS_CLUSTER", false),
            ca: environment.optional("REDIS_CA", "certificates in PEM", |text| {
                are_certificates(text).then(|| text.to_owned())
            }),
        };
        Self::new(&config).unwrap_or_else(|InvalidUrl| {
            if !config.url.expose_secret().is_empty() {
                environment.refuse("REDIS_URL must be a redis:// or rediss:// URL");
            }
            Self::placeholder()
        })
    }

    /// Creates the client; it connects with the first command.
    ///
    /// # Errors
    /// [`InvalidUrl`] if the URL is not a Redis URL.
    fn new(config: &Config) -> Result<Self, InvalidUrl> {
        // Installs the provider of the only TLS stack; a second call has no effect.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let is_known = ["redis://", "rediss://"]
            .iter()
            .any(|scheme| config.url.expose_secret().starts_with(scheme));
        let server = Server::new(config).map_err(|_| InvalidUrl)?;
        if !is_known {
            return Err(InvalidUrl);
        }
        let uses_tls = config.url.expose_secret().starts_with("rediss://");
        Ok(Self::with(server, uses_tls || config.is_cluster))
    }

    /// Placeholder used while configuration errors are collected; never connects.
    #[expect(clippy::expect_used, reason = "the address is a constant")]
    fn placeholder() -> Self {
        let client = Client::open("redis://127.0.0.1:9").expect("an address");
        Self::with(Server::Standalone(Box::new(client)), false)
    }

    fn with(server: Server, connects_early: bool) -> Self {
        Self {
            server,
            connects_early,
            connection: Mutex::new(None),
        }
    }

    /// Connects before the first request. A starting environment has a whole CPU and time to spare; on a fraction of a
    /// CPU, connecting would take the first request several times as long. Without TLS and cluster there is nothing to
    /// gain. Best effort: on failure the first request connects again and reports the error.
    pub async fn connect_early(&self) {
        if self.connects_early && self.connect(EARLY_CONNECT_TIMEOUT).await.is_err() {
            tracing::warn!("Redis does not answer yet");
        }
    }

    /// Runs a command.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis cannot be reached, or does not answer in two tries. [`Error::Unexpected`] if the
    /// command is wrong or its answer cannot be read.
    pub async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        self.send(Call::Command(command)).await
    }

    /// Runs a script; loads it first if the server does not know it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis cannot be reached, or does not answer in two tries. [`Error::Unexpected`] if the
    /// script is wrong or its answer cannot be read.
    pub async fn invoke<T: FromRedisValue>(&self, script: &ScriptCall<'_>) -> Result<T, Error> {
        self.send(Call::Script(script)).await
    }

    async fn send<T: FromRedisValue>(&self, call: Call<'_>) -> Result<T, Error> {
        let connection = self.connect(CONNECT_TIMEOUT).await.map_err(classify)?;
        match self.attempt(connection, &call).await {
            Err(error) if connection_is_dead(&error) => {
                tracing::warn!(
                    cause = describe(&error),
                    "the connection to Redis was replaced"
                );
                let connection = self.connect(CONNECT_TIMEOUT).await.map_err(classify)?;
                self.attempt(connection, &call).await
            }
            result => result,
        }
        .map_err(classify)
    }

    async fn attempt<T: FromRedisValue>(
        &self,
        mut connection: Connection,
        call: &Call<'_>,
    ) -> RedisResult<T> {
        let result = match call {
            Call::Command(command) => command.query_async(&mut connection).await,
            Call::Script(script) => script.send(&mut connection).await,
        };
        if result.as_ref().is_err_and(connection_is_dead) {
            *self.connection.lock().await = None;
        }
        result
    }

    async fn connect(&self, patience: Duration) -> RedisResult<Connection> {
        let mut current = self.connection.lock().await;
        if let Some(connection) = &*current {
            return Ok(connection.clone());
        }
        // Boxed, so that a command with an open connection does not carry the size of the connecting future. The
        // time-out includes the handshakes: the client's own covers the socket only.
        let connecting = tokio::time::timeout(patience, Box::pin(self.server.connect()));
        let timed_out = |_| RedisError::from((ErrorKind::Io, "connecting timed out"));
        let connection = connecting.await.map_err(timed_out)??;
        *current = Some(connection.clone());
        Ok(connection)
    }
}

impl Server {
    fn new(config: &Config) -> RedisResult<Self> {
        let info = config.url.expose_secret().into_connection_info()?;
        let tcp = TcpSettings::default().set_nodelay(true);
        let certificates = config.ca.as_ref().map(|ca| TlsCertificates {
            client_tls: None,
            root_cert: Some(ca.clone().into_bytes()),
        });
        if !config.is_cluster {
            let info = info.set_tcp_settings(tcp);
            let client = match certificates {
                Some(certificates) => Client::build_with_tls(info, certificates)?,
                None => Client::open(info)?,
            };
            return Ok(Self::Standalone(Box::new(client)));
        }
        let mut cluster = ClusterClient::builder([info]);
        if let Some(certificates) = certificates {
            cluster = cluster.certs(certificates);
        }
        let cluster = cluster
            .tcp_settings(tcp)
            .connection_timeout(CONNECT_TIMEOUT)
            .response_timeout(RESPONSE_TIMEOUT)
            .overall_response_timeout(Some(RESPONSE_TIMEOUT))
            .retries(1)
            .build()?;
        Ok(Self::Cluster(Box::new(cluster)))
    }

    async fn connect(&self) -> RedisResult<Connection> {
        Ok(match self {
            Self::Standalone(client) => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(None)
                    .set_response_timeout(Some(RESPONSE_TIMEOUT));
                let connecting = client.get_multiplexed_async_connection_with_config(&config);
                Connection::Standalone(connecting.await?)
            }
            Self::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        })
    }
}

/// Either kind of connection; both are handles that are cheap to clone.
#[derive(Clone)]
enum Connection {
    Standalone(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Standalone(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Standalone(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Standalone(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

fn are_certificates(pem: &str) -> bool {
    let mut certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).peekable();
    certificates.peek().is_some() && certificates.all(|certificate| certificate.is_ok())
}

/// Returns whether a new connection might succeed.
fn connection_is_dead(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
        // A primary that became a replica keeps its connections and refuses writes.
        || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
        || error.code() == Some("NOAUTH")
}

/// Classifies an error. Conditions that the server reports with a code of its own (OOM, BUSY, NOAUTH, …) pass: memory
/// is freed, a script ends, an operator acts. Everything else is a mistake in a script or in its return value.
fn classify(error: RedisError) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedReturnType
        | ErrorKind::Parse
        | ErrorKind::Server(ServerErrorKind::ResponseError) => Error::Unexpected(describe(&error)),
        _ => Error::Unavailable(describe(&error)),
    }
}

/// Returns the error's kind and code only: its text may quote a command's arguments.
fn describe(error: &RedisError) -> String {
    format!(
        "Redis: {:?}{}",
        error.kind(),
        error
            .code()
            .map(|code| format!(" ({code})"))
            .unwrap_or_default()
    )
}
