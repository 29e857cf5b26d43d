//! The connection to Redis or Valkey. It is opened with the first command, or with TLS when the environment starts.
//! Every wait is bounded, and a connection that does not answer is replaced at once. While a Lambda environment is
//! frozen, its sockets can die unnoticed, and the client's own reconnection does not react to a time-out; this module
//! does.
//!
//! A command may be sent twice: without an answer it is unknown whether the command ran. Every command and script must
//! therefore have the same effect the second time (idempotency).

use std::sync::Arc;
use std::time::Duration;

use redis::{Client, Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::Error;
use crate::config::Environment;

mod script;
mod server;

pub use script::{Script, ScriptCall};
use server::{Config, Connection, Server};

/// The time to connect. Resolving a name, two TLS handshakes, authenticating and reading a cluster's slot map take a
/// while on a fraction of a CPU. The request's remaining time bounds it as well.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The time to connect when no request waits. Lambda allows ten seconds for the start of an environment.
const EARLY_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);

/// The URL is not a Redis URL.
struct InvalidUrl;

/// A connection to Redis that reconnects by itself.
pub struct Redis {
    server: Server,
    connects_early: bool,
    connection: Mutex<Option<Connection>>,
}

enum Call<'a> {
    Command(&'a Cmd),
    Script(&'a ScriptCall<'a>),
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
