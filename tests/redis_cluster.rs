//! The whole story on a Redis cluster, which refuses whatever touches two slots at once.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::World;
use serde_json::json;

/// A cluster of one node that has all slots; it ends with this value.
struct Cluster {
    process: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Cluster {
    fn start() -> Self {
        let port = free_port();
        let folder = tempfile::tempdir().unwrap();
        let process = ["valkey-server", "redis-server"]
            .iter()
            .find_map(|program| {
                let mut command = Command::new(program);
                command.args(["--port", &port.to_string(), "--cluster-enabled", "yes"]);
                command.args(["--save", "", "--dir"]).arg(folder.path());
                command.stdout(Stdio::null()).spawn().ok()
            });
        let cluster = Self {
            process: process.expect("the stack has installed one"),
            url: format!("redis://127.0.0.1:{port}"),
            _folder: folder,
        };
        let client = redis::Client::open(cluster.url.as_str()).unwrap();
        let started = Instant::now();
        let mut connection = loop {
            if let Ok(connection) = client.get_connection() {
                break connection;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "no cluster");
            std::thread::sleep(Duration::from_millis(20));
        };
        let mut slots = redis::cmd("CLUSTER");
        slots.arg("ADDSLOTSRANGE").arg(0).arg(16_383);
        slots.exec(&mut connection).unwrap();
        let is_up = |connection: &mut redis::Connection| {
            let info: String = redis::cmd("CLUSTER").arg("INFO").query(connection).unwrap();
            info.contains("cluster_state:ok")
        };
        while !is_up(&mut connection) {
            assert!(started.elapsed() < Duration::from_secs(30), "no cluster");
            std::thread::sleep(Duration::from_millis(20));
        }
        cluster
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The nodes speak among themselves 10000 ports above.
fn free_port() -> u16 {
    loop {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if port < 55_000 {
            return port;
        }
    }
}

#[tokio::test]
async fn everything_works_on_a_cluster() {
    // Whatever has to be installed is, once another world has started.
    if World::inside().is_none() {
        return;
    }
    let cluster = Cluster::start();
    let world = World::build()
        .default_limits()
        .variable("REDIS_URL", &cluster.url)
        .variable("REDIS_CLUSTER", "true");
    let Some(world) = world.start() else { return };
    let account = world.client().register().await;

    let (access, refresh) = world.client().login(&account).await;
    let wrong = json!({ "email": account.email, "password": "Wrong-7-horse" });
    for left in (0..5).rev() {
        let answer = world.client().post("/api/auth/login", wrong.clone()).await;
        assert_eq!(answer.code(), "invalid_credentials", "{left}");
    }
    let locked = world.client().post("/api/auth/login", wrong).await;
    assert_eq!(locked.code(), "account_locked");
    // Address and user are in different slots: each limit counts, and what one refuses the other forgets.
    let client = world.client();
    let first = client.profile(&access).await;
    assert_eq!(first.rate_limit().unwrap().0, "user", "{first:?}");
    let renewed = client.refresh(&refresh).await;
    assert_eq!(renewed.status, 200, "{renewed:?}");
    let access = renewed.text("accessToken");
    let sessions = client.get_as(&access, "/api/auth/sessions").await;
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 2);
    for _ in 0..20 {
        client.profile(&access).await;
    }
    let refused = client.profile(&access).await;
    assert_eq!(refused.code(), "rate_limited");
    let reset = json!({ "email": account.email });
    assert_eq!(client.post("/forgot-password", reset).await.status, 200);
    let token = world.mailed_token("reset_password", &account.email).await;
    let body = json!({ "token": token, "newPassword": "Another-7-horse" });
    let confirmed = world.client().post("/reset-password", body).await;
    assert_eq!(confirmed.status, 200, "{confirmed:?}");
    assert_eq!(
        client.refresh(&renewed.text("refreshToken")).await.code(),
        "refresh_token_invalid"
    );
}
