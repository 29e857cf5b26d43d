//! The server: standalone or a cluster, with or without TLS.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, IntoConnectionInfo, Pipeline, RedisFuture, RedisResult,
    TlsCertificates, Value,
};
use secrecy::{ExposeSecret, SecretString};

use super::{CONNECT_TIMEOUT, RESPONSE_TIMEOUT};

/// The address of Redis.
pub(super) struct Config {
    /// A `redis://` or `rediss://` (TLS) URL; it may contain a password.
    pub(super) url: SecretString,
    /// Whether the server is a cluster, which redirects commands.
    pub(super) is_cluster: bool,
    /// The certificate authorities (PEM) to trust instead of the public ones.
    pub(super) ca: Option<String>,
}

/// The client of a standalone server or of a cluster.
pub(super) enum Server {
    Standalone(Box<Client>),
    Cluster(Box<ClusterClient>),
}

impl Server {
    pub(super) fn new(config: &Config) -> RedisResult<Self> {
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

    pub(super) async fn connect(&self) -> RedisResult<Connection> {
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

/// A connection of either kind: a handle that is cheap to clone.
#[derive(Clone)]
pub(super) enum Connection {
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
