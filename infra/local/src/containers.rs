//! Connects containers to this machine, for `sam local`. On Linux a container cannot reach the loopback interface, on
//! which everything here listens. It can reach Docker's bridge, whose connections are forwarded to the loopback
//! interface. Docker on macOS forwards them itself.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinHandle;
use url::Url;

use crate::Error;

/// This machine's name in a container started with [`ADD_HOST`].
pub const HOST: &str = "host.docker.internal";
/// The option that sets the name on Linux; on macOS it is set anyway.
pub const ADD_HOST: &str = "--add-host host.docker.internal:host-gateway";

/// Forwards connections until it is dropped.
#[derive(Default)]
pub struct Bridge {
    relays: Vec<JoinHandle<()>>,
}

impl Bridge {
    /// Listens on Docker's bridge, and nowhere else, at the ports of these addresses.
    ///
    /// # Errors
    /// If Docker does not report the bridge's address, or listening on it fails.
    pub async fn open(urls: &[&str]) -> Result<Self, Error> {
        let mut bridge = Self::default();
        if !cfg!(target_os = "linux") {
            return Ok(bridge);
        }
        let gateway = gateway().await?;
        for url in urls {
            let port = Url::parse(url)?.port().ok_or("an address without a port")?;
            let listener = TcpListener::bind((gateway, port)).await?;
            let behind = SocketAddr::from(([127, 0, 0, 1], port));
            bridge.relays.push(tokio::spawn(relay(listener, behind)));
        }
        Ok(bridge)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        for relay in &self.relays {
            relay.abort();
        }
    }
}

async fn gateway() -> Result<Ipv4Addr, Error> {
    let mut inspect = Command::new("docker");
    inspect.args(["network", "inspect", "bridge", "--format"]);
    inspect.arg("{{range .IPAM.Config}}{{.Gateway}} {{.Subnet}} {{end}}");
    let output = inspect.output().await?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut words = printed.split_whitespace();
    match words.find_map(bridge_address) {
        Some(address) => Ok(address),
        None => Err(String::from_utf8_lossy(&output.stderr).trim().into()),
    }
}

/// Returns the bridge's address from a gateway or a network: Docker does not always report the gateway, which is the
/// network's first address.
fn bridge_address(word: &str) -> Option<Ipv4Addr> {
    match word.split_once('/') {
        None => word.parse().ok(),
        Some((network, _)) => {
            let network: Ipv4Addr = network.parse().ok()?;
            Some(Ipv4Addr::from_bits(network.to_bits() + 1))
        }
    }
}

async fn relay(listener: TcpListener, behind: SocketAddr) {
    while let Ok((mut from, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut to = TcpStream::connect(behind).await?;
            tokio::io::copy_bidirectional(&mut from, &mut to).await
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn the_bridge_has_the_gateways_address() {
        for (word, expected) in [
            ("172.17.0.1", Some(Ipv4Addr::new(172, 17, 0, 1))),
            ("172.18.0.0/16", Some(Ipv4Addr::new(172, 18, 0, 1))),
            ("fe80::1", None),
        ] {
            assert_eq!(bridge_address(word), expected);
        }
    }

    #[tokio::test]
    async fn what_is_said_at_the_bridge_is_heard_behind_it() {
        let behind = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let bridge = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = bridge.local_addr().unwrap();
        tokio::spawn(relay(bridge, behind.local_addr().unwrap()));

        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"ping").await.unwrap();
        let (mut server, _) = behind.accept().await.unwrap();
        let mut heard = [0; 4];
        server.read_exact(&mut heard).await.unwrap();
        drop(server);

        assert_eq!(&heard, b"ping");
        assert_eq!(client.read(&mut heard).await.unwrap(), 0, "the end, too");
    }
}
