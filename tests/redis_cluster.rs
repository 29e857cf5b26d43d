//! The whole story on a Redis cluster, which refuses whatever touches two slots at once.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
        // Somebody else may take one of the ports first.
        let cluster = (0..20).find_map(|_| Self::try_start());
        cluster.expect("a cluster on one of twenty ports")
    }

    fn try_start() -> Option<Self> {
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
        let mut cluster = Self {
            process: process.expect("the stack has installed one"),
            url: format!("redis://127.0.0.1:{port}"),
            _folder: folder,
        };
        let client = redis::Client::open(cluster.url.as_str()).unwrap();
        let started = Instant::now();
        let mut ask = |command: &mut redis::Cmd| -> Option<String> {
            loop {
                let answer = client
                    .get_connection()
                    .and_then(|mut c| command.query(&mut c));
                if let Ok(answer) = answer {
                    return Some(answer);
                }
                let has_ended = cluster.process.try_wait().unwrap().is_some();
                if has_ended || started.elapsed() > Duration::from_secs(30) {
                    return None;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        let mut slots = redis::cmd("CLUSTER");
        slots.arg("ADDSLOTSRANGE").arg(0).arg(16_383);
        ask(&mut slots)?;
        while !ask(redis::cmd("CLUSTER").arg("INFO"))?.contains("cluster_state:ok") {
            assert!(started.elapsed() < Duration::from_secs(60), "no cluster");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(cluster)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The nodes speak among themselves 10000 ports above: both below those that systems hand out.
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

impl Cluster {
    /// Forgets its scripts a hundred times a second, until the value goes: as the shards of a serverless cache do when it
    /// grows.
    fn forgets_scripts(&self) -> impl Drop + use<> {
        struct Forgetting(Arc<AtomicBool>);
        impl Drop for Forgetting {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let client = redis::Client::open(self.url.replace("redis://", "redis://operator:secret@"));
        let mut connection = client.unwrap().get_connection().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let forgetting = Forgetting(is_over.clone());
        std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                let flushed = redis::cmd("SCRIPT")
                    .arg("FLUSH")
                    .query::<()>(&mut connection);
                flushed.expect("it forgets");
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        forgetting
    }

    /// From now on there is one user, with the rights that the template gives the functions in the cloud's
    /// cache. The URL is theirs.
    fn only_for_the_functions(&self) -> String {
        let template = harness::world::read("infra/data.yaml");
        let (_, after) = template.split_once("UserName: gatehouse").unwrap();
        let (_, after) = after.split_once("AccessString: >-").unwrap();
        let rights = after
            .lines()
            .skip(1)
            .take_while(|line| line.starts_with("        "));
        let rights: Vec<&str> = rights.flat_map(str::split_whitespace).collect();
        assert!(rights.contains(&"~sessions:*"), "{rights:?}");
        let client = redis::Client::open(self.url.as_str()).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut user = redis::cmd("ACL");
        user.arg("SETUSER").arg("gatehouse").arg("reset");
        let () = user
            .arg(rights)
            .arg(">secret")
            .query(&mut connection)
            .unwrap();
        let mut operator = redis::cmd("ACL");
        operator.arg("SETUSER").arg("operator").arg("reset");
        let operator = operator.arg("on").arg(">secret").arg("+script|flush");
        let () = operator.query(&mut connection).unwrap();
        let mut default = redis::cmd("ACL");
        default.arg("SETUSER").arg("default").arg("off");
        let () = default.query(&mut connection).unwrap();
        self.url.replace("redis://", "redis://gatehouse:secret@")
    }
}

/// A script that touches a key which is not among its `KEYS` fails on a serverless cache (Valkey, "Scripting with Lua").
#[test]
fn scripts_touch_no_key_that_they_do_not_name() {
    let folder = local::build::workspace().join("shared/src/store/scripts");
    let mut scripts = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let script = std::fs::read_to_string(&path).unwrap();
        let walks_over_keys = script.contains("for i, key in ipairs(KEYS) do");
        for call in script.split("redis.call(").skip(1) {
            let end = call.find([',', ')']).unwrap();
            let (command, rest) = call.split_at(end);
            let key = rest[1..].trim_start();
            let is_named = key.starts_with("KEYS[1]")
                || key.starts_with("KEYS[2]")
                || walks_over_keys && key.starts_with("key");
            assert!(
                command == "'TIME'" || is_named,
                "{path:?}: {command}, {key}"
            );
        }
        scripts += 1;
    }
    assert_eq!(scripts, 11);
}

/// Under the user that the functions have in the cloud, and no other; the node forgets its scripts at any time.
#[tokio::test]
async fn everything_works_on_a_cluster() {
    // Whatever has to be installed is, once another world has started.
    if World::inside().is_none() {
        return;
    }
    let cluster = Cluster::start();
    let world = World::build()
        .default_limits()
        .variable("REDIS_URL", &cluster.only_for_the_functions())
        .variable("REDIS_CLUSTER", "true");
    let Some(world) = world.start() else { return };
    let account = world.client().register().await;
    let forgetting = cluster.forgets_scripts();

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
    drop(forgetting);
}
