//! Requests as clients make them: what they cost in the function's process, and how long they take.

use std::time::{Duration, Instant};

use harness::client::{unique_email, unique_password};
use harness::{Account, Client, World, process};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::FLOOR;

/// What was measured of one endpoint.
pub struct Endpoint {
    pub name: &'static str,
    /// In the function's process, for each request.
    pub cpu: Duration,
    /// As the client sees it, one request after the other.
    pub p50: Duration,
    pub p99: Duration,
    /// Successes per second, 16 requests at a time. On fewer cores than that, some of those that hash come
    /// too late and are refused.
    pub throughput: f64,
}

/// An endpoint, the function behind it, and how many requests are measured.
pub struct Kind {
    pub name: &'static str,
    function: &'static str,
    count: usize,
}

const KINDS: [Kind; 10] = [
    Kind::new(FLOOR, FLOOR, 2000),
    Kind::new("register", "register", 60),
    Kind::new("login", "login", 100),
    Kind::new("refresh", "refresh", 2000),
    Kind::new("profile", "profile", 2000),
    Kind::new("profile-update", "profile", 1000),
    Kind::new("sessions", "sessions", 1000),
    Kind::new("logout", "logout", 500),
    Kind::new("reset-request", "reset-request", 100),
    Kind::new("change-password", "change-password", 30),
];
const HASHING: [&str; 3] = ["register", "login", "change-password"];
const AT_ONCE: usize = 16;

impl Kind {
    pub const fn new(name: &'static str, function: &'static str, count: usize) -> Self {
        Self {
            name,
            function,
            count,
        }
    }
}

/// The endpoints of these functions: those that hash in one world, where that costs what it costs in
/// production, the others in one where signing up is cheap.
pub async fn measure(hashing: &World, others: &World, functions: &[&str]) -> Vec<Endpoint> {
    let mut measured = Vec::new();
    let kinds = KINDS.iter();
    for kind in kinds.filter(|kind| functions.contains(&kind.function)) {
        eprintln!("measuring {}", kind.name);
        let world = if HASHING.contains(&kind.name) {
            hashing
        } else {
            others
        };
        measured.push(measure_one(world, kind).await);
    }
    measured
}

async fn measure_one(world: &World, kind: &Kind) -> Endpoint {
    let mut caller = [Caller::signed_up(world.client()).await];
    let (mut latencies, cpu) = sequentially(world, kind, &mut caller).await;
    latencies.sort();

    let mut callers = Vec::new();
    for _ in 0..AT_ONCE {
        callers.push(Caller::signed_up(world.client()).await);
    }
    let each = kind.count.div_ceil(AT_ONCE);
    let working: Vec<_> = callers
        .into_iter()
        .map(|mut caller| {
            let name = kind.name;
            tokio::spawn(async move {
                let (mut asked, mut successes) = (Duration::ZERO, 0);
                for _ in 0..each {
                    caller.prepare(name).await;
                    let (took, succeeded) = caller.ask_prepared(name).await;
                    asked += took;
                    successes += usize::from(succeeded);
                }
                (asked, successes)
            })
        })
        .collect();
    let (mut asked, mut successes) = (Duration::ZERO, 0);
    for task in working {
        let (took, succeeded) = task.await.expect("a client");
        asked += took;
        successes += succeeded;
    }
    // Without the time that clients spent on getting ready.
    let busy = asked / AT_ONCE as u32;
    Endpoint {
        name: kind.name,
        cpu,
        p50: latencies[latencies.len() / 2],
        p99: latencies[latencies.len() * 99 / 100],
        throughput: successes as f64 / busy.as_secs_f64(),
    }
}

/// Every latency, and the CPU time of a request in the function's process; callers ask in turn.
pub async fn sequentially(
    world: &World,
    kind: &Kind,
    callers: &mut [Caller],
) -> (Vec<Duration>, Duration) {
    let number = callers.len();
    for at in 0..10 {
        let caller = &mut callers[at % number];
        caller.prepare(kind.name).await;
        caller.ask_prepared(kind.name).await; // connections, caches
    }
    let mut latencies = Vec::new();
    let mut cpu = Duration::ZERO;
    for at in 0..kind.count {
        let caller = &mut callers[at % number];
        caller.prepare(kind.name).await;
        let before = cpu_time(world, kind.function);
        let (took, succeeded) = caller.ask_prepared(kind.name).await;
        assert!(succeeded, "{} fails", kind.name);
        latencies.push(took);
        cpu += cpu_time(world, kind.function) - before;
    }
    (latencies, cpu / kind.count as u32)
}

fn cpu_time(world: &World, function: &str) -> Duration {
    let processes = world.local().idle_processes(function);
    processes.into_iter().map(process::cpu_time).sum()
}

/// A client with an account and the tokens that it has by now.
pub struct Caller {
    client: Client,
    account: Account,
}

impl Caller {
    pub fn new(client: Client, account: Account) -> Self {
        Self { client, account }
    }

    async fn signed_up(client: Client) -> Self {
        let account = client.register().await;
        Self { client, account }
    }

    /// What has to be there before the request that is measured.
    async fn prepare(&mut self, name: &str) {
        if name == "logout" {
            (self.account.access, self.account.refresh) = self.client.login(&self.account).await;
        }
    }

    /// How long it took, and whether it succeeded.
    async fn ask_prepared(&mut self, name: &str) -> (Duration, bool) {
        let new = unique_password();
        let request = self.request(name, &new);
        let started = Instant::now();
        let answer = request.send().await.expect("an answer");
        let (status, body) = (answer.status(), answer.bytes().await.expect("a body"));
        let took = started.elapsed();
        if !status.is_success() {
            return (took, false);
        }
        match name {
            "refresh" => {
                let body: Value = serde_json::from_slice(&body).expect("JSON");
                let token = body["refreshToken"].as_str().expect("a token");
                token.clone_into(&mut self.account.refresh);
            }
            "change-password" => self.account.password = new,
            _ => {}
        }
        (took, true)
    }

    fn request(&self, name: &str, new_password: &str) -> RequestBuilder {
        let account = &self.account;
        let request = |method, path| self.client.request(method, path);
        let post = |path, body: &Value| request(Method::POST, path).json(body);
        let as_user = |request: RequestBuilder| request.bearer_auth(&account.access);
        match name {
            // The same event as a refresh, which is the longest of those it is compared with.
            FLOOR => post("/floor", &json!({ "refreshToken": account.refresh })),
            "register" => post(
                "/api/auth/register",
                &json!({ "email": unique_email(), "password": new_password }),
            ),
            "login" => post(
                "/api/auth/login",
                &json!({ "email": account.email, "password": account.password }),
            ),
            "refresh" => post(
                "/api/auth/refresh",
                &json!({ "refreshToken": account.refresh }),
            ),
            "profile" => as_user(request(Method::GET, "/api/auth/profile")),
            "profile-update" => as_user(
                request(Method::PUT, "/api/auth/profile").json(&json!({ "name": new_password })),
            ),
            "sessions" => as_user(request(Method::GET, "/api/auth/sessions")),
            "logout" => as_user(request(Method::POST, "/api/auth/logout")),
            "reset-request" => post(
                "/api/auth/password-reset/request",
                &json!({ "email": account.email }),
            ),
            "change-password" => as_user(request(Method::POST, "/api/auth/change-password").json(
                &json!({ "currentPassword": account.password, "newPassword": new_password }),
            )),
            _ => panic!("no endpoint {name}"),
        }
    }
}
