//! A Redis cluster like a cache in the cloud: TLS, a user with a password, nodes that lose their scripts and move
//! slots.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redis::{Connection, FromRedisValue, TlsCertificates};

use crate::tls::Certificates;

const SLOTS: u16 = 16_384;

/// A cluster of real servers whose first node has all slots; dropping this value ends it.
pub struct Cluster {
    nodes: Vec<Node>,
    /// The certificate authority of the nodes, in PEM.
    pub ca: String,
    _folder: tempfile::TempDir,
}

struct Node {
    process: Child,
    port: u16,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Repeats an action in a thread of its own until this value is dropped.
pub struct Disturbance {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Disturbance {
    fn of(mut once: impl FnMut() + Send + 'static) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let stops = is_over.clone();
        let thread = std::thread::spawn(move || {
            while !stops.load(Ordering::Relaxed) {
                once();
            }
        });
        Self {
            is_over,
            thread: Some(thread),
        }
    }

    /// Ends the thread. Panics if the action has panicked.
    pub fn end(mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread
            .take()
            .unwrap()
            .join()
            .expect("no panic in the thread");
    }
}

impl Drop for Disturbance {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl Cluster {
    /// Starts a cluster with this many nodes. The functions' users have the rights that `infra/data.yaml` gives them;
    /// the default user is off.
    pub fn start(nodes: usize) -> Self {
        // Another process may take one of the ports first.
        let cluster = (0..20).find_map(|_| Self::try_start(nodes));
        cluster.expect("a cluster within twenty attempts")
    }

    fn try_start(nodes: usize) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::of("127.0.0.1");
        for (name, text) in [
            ("ca.pem", &certificates.ca),
            ("certificate.pem", &certificates.certificate),
            ("key.pem", &certificates.key),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let nodes = (0..nodes).map(|_| Node::start(folder.path()));
        let mut cluster = Self {
            nodes: nodes.collect(),
            ca: certificates.ca,
            _folder: folder,
        };
        let started = Instant::now();
        let mut connections = Vec::new();
        for index in 0..cluster.nodes.len() {
            connections.push(loop {
                if let Ok(connection) = cluster.connect(index, "") {
                    break connection;
                }
                let has_ended = cluster.nodes[index].process.try_wait().unwrap().is_some();
                if has_ended || started.elapsed() > Duration::from_secs(30) {
                    return None;
                }
                std::thread::sleep(Duration::from_millis(20));
            });
        }
        let all = format!("CLUSTER ADDSLOTSRANGE 0 {}", SLOTS - 1);
        let () = ask(&mut connections[0], &all);
        for node in &cluster.nodes[1..] {
            let () = ask(
                &mut connections[0],
                &format!("CLUSTER MEET 127.0.0.1 {}", node.port),
            );
        }
        let known = format!("cluster_known_nodes:{}", cluster.nodes.len());
        for connection in &mut connections {
            loop {
                let info: String = ask(connection, "CLUSTER INFO");
                if info.contains("cluster_state:ok") && info.contains(&known) {
                    break;
                }
                assert!(started.elapsed() < Duration::from_secs(60), "{info}");
                std::thread::sleep(Duration::from_millis(20));
            }
            for user in ["gatehouse", "reader"] {
                let rights = rights_of(user);
                let () = ask(
                    connection,
                    &format!("ACL SETUSER {user} reset {rights} >secret"),
                );
            }
            let () = ask(connection, "ACL SETUSER operator reset on >secret ~* +@all");
            let () = ask(connection, "ACL SETUSER default off");
        }
        Some(cluster)
    }

    /// Returns the value for `REDIS_URL`.
    pub fn url(&self) -> String {
        self.url_of(0, "gatehouse:secret@")
    }

    /// Returns the URL for functions that neither start nor end sessions.
    pub fn reader_url(&self) -> String {
        self.url_of(0, "reader:secret@")
    }

    fn url_of(&self, node: usize, credentials: &str) -> String {
        format!("rediss://{credentials}127.0.0.1:{}", self.nodes[node].port)
    }

    fn connect(&self, node: usize, credentials: &str) -> redis::RedisResult<Connection> {
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: Some(self.ca.clone().into_bytes()),
        };
        redis::Client::build_with_tls(self.url_of(node, credentials), certificates)?
            .get_connection()
    }

    fn operator(&self, node: usize) -> Connection {
        self.connect(node, "operator:secret@").unwrap()
    }

    /// Makes the nodes forget their scripts a hundred times a second, as the shards of a serverless cache do when it
    /// grows.
    pub fn forgets_scripts(&self) -> Disturbance {
        let nodes = 0..self.nodes.len();
        let mut connections: Vec<_> = nodes.map(|node| self.operator(node)).collect();
        Disturbance::of(move || {
            for connection in &mut connections {
                let () = ask(connection, "SCRIPT FLUSH");
            }
            std::thread::sleep(Duration::from_millis(10));
        })
    }

    /// Moves this key's slot from one node to the other and back, ten times a second, as when a cache grows.
    pub fn moves_the_slot_of(&self, key: &str) -> Disturbance {
        let mut nodes = [self.operator(0), self.operator(1)];
        let slot: u16 = ask(&mut nodes[0], &format!("CLUSTER KEYSLOT {key}"));
        let ids = [0, 1].map(|node| ask::<String>(&mut nodes[node], "CLUSTER MYID"));
        let ports = [self.nodes[0].port, self.nodes[1].port];
        let mut from = 0;
        Disturbance::of(move || {
            let to = 1 - from;
            let mut tell = |node: usize, what: &str| {
                let () = ask(&mut nodes[node], &format!("CLUSTER SETSLOT {slot} {what}"));
            };
            tell(to, &format!("IMPORTING {}", ids[from]));
            tell(from, &format!("MIGRATING {}", ids[to]));
            loop {
                let keys: Vec<String> = ask(
                    &mut nodes[from],
                    &format!("CLUSTER GETKEYSINSLOT {slot} 100"),
                );
                if keys.is_empty() {
                    break;
                }
                let mut migrate = redis::cmd("MIGRATE");
                migrate.arg("127.0.0.1").arg(ports[to]).arg("").arg(0);
                migrate.arg(5000).arg("AUTH2").arg("operator").arg("secret");
                let () = migrate
                    .arg("KEYS")
                    .arg(keys)
                    .query(&mut nodes[from])
                    .unwrap();
            }
            for node in [to, from] {
                let node = &mut nodes[node];
                let () = ask(node, &format!("CLUSTER SETSLOT {slot} NODE {}", ids[to]));
            }
            from = to;
            std::thread::sleep(Duration::from_millis(100));
        })
    }
}

impl Node {
    fn start(certificates: &std::path::Path) -> Self {
        let port = free_port();
        let folder = certificates.join(port.to_string());
        std::fs::create_dir(&folder).unwrap();
        let process = ["valkey-server", "redis-server"]
            .iter()
            .find_map(|program| {
                let mut command = Command::new(program);
                command.args(["--port", "0", "--tls-port", &port.to_string()]);
                command.args(["--cluster-enabled", "yes", "--tls-cluster", "yes"]);
                command.args(["--tls-auth-clients", "no", "--save", ""]);
                // A node that gives its last slot away stays a primary.
                command.args(["--cluster-allow-replica-migration", "no"]);
                for (option, file) in [
                    ("--tls-ca-cert-file", "ca.pem"),
                    ("--tls-cert-file", "certificate.pem"),
                    ("--tls-key-file", "key.pem"),
                ] {
                    command.arg(option).arg(certificates.join(file));
                }
                command.arg("--dir").arg(&folder);
                command.stdout(Stdio::null()).spawn().ok()
            });
        Self {
            process: process.expect("an installed Redis server"),
            port,
        }
    }
}

fn ask<T: FromRedisValue>(connection: &mut Connection, command: &str) -> T {
    let mut words = command.split(' ');
    let mut request = redis::cmd(words.next().unwrap());
    for word in words {
        request.arg(word);
    }
    request
        .query(connection)
        .unwrap_or_else(|error| panic!("{command}: {error}"))
}

/// Returns the rights of a user of the cloud's cache, from the template.
fn rights_of(user: &str) -> String {
    let template = crate::world::read("infra/data.yaml");
    let name = format!("UserName: {user}\n");
    let (_, after) = template.split_once(&name).unwrap();
    let (_, after) = after.split_once("AccessString: >-").unwrap();
    let rights = after.lines().skip(1);
    let rights = rights.take_while(|line| line.starts_with("        "));
    let rights: Vec<&str> = rights.flat_map(str::split_whitespace).collect();
    assert!(rights.contains(&"~rate_limit:*"), "{rights:?}");
    rights.join(" ")
}

/// Returns a free port. The nodes talk to each other 10000 ports higher; both ports are below the system's ephemeral
/// ports.
fn free_port() -> u16 {
    let mut random = [0; 2];
    loop {
        aws_lc_rs::rand::fill(&mut random).unwrap();
        let port = 10_000 + u16::from_be_bytes(random) % 10_000;
        let is_free = |port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
}
