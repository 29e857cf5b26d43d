//! Measures requests as clients make them: their CPU time in the function's process, and their latency.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::authenticator::Authenticator;
use harness::client::{unique_email, unique_password};
use harness::{Account, Client, World, process, token};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::node::Node;
use crate::references::{Bare, References};
use crate::{EXCHANGE, FLOOR, median};

/// The same requests to the Node.js server.
pub const NODE_PROFILE: &str = "node-profile";
pub const NODE_REFRESH: &str = "node-refresh";
pub const NODE_LOGIN: &str = "node-login";
/// Stands for the Node.js server's process instead of a function's.
const NODE: &str = "node";

/// The measurements of one endpoint.
pub struct Endpoint {
    pub name: &'static str,
    /// The CPU time of a request in the function's process.
    pub cpu: Duration,
    /// The latency at the client, one request at a time.
    pub p50: Duration,
    pub p99: Duration,
    /// Successes per second, 16 requests at a time. On fewer cores, some of the requests that hash take too long and
    /// are refused.
    pub throughput: f64,
}

/// The measured systems: ours, and the Node.js server with the same stores.
pub struct Systems {
    pub world: World,
    pub node: Option<Node>,
}

/// An endpoint, its function, and the number of requests to measure.
pub struct Kind {
    pub name: &'static str,
    function: &'static str,
    pub count: usize,
    group: Group,
    /// Whether each request needs something that the previous one has used up.
    uses_up: bool,
}

/// The group of endpoints that are measured in turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    /// With the floors and nothing else, because their ratio is the target.
    Floors,
    /// With bare hashes, at production's hash cost.
    Hashes,
    /// With the remaining endpoints.
    Rest,
}

const KINDS: [Kind; 22] = [
    Kind::new(FLOOR, FLOOR, 1000).beside(Group::Floors),
    Kind::new(EXCHANGE, EXCHANGE, 1000).beside(Group::Floors),
    Kind::new(NODE_PROFILE, NODE, 1000).beside(Group::Floors),
    Kind::new(NODE_REFRESH, NODE, 1000).beside(Group::Floors),
    Kind::new(NODE_LOGIN, NODE, 50).beside(Group::Hashes),
    Kind::new("register", "register", 30).beside(Group::Hashes),
    Kind::new("login", "login", 50).beside(Group::Hashes),
    Kind::new("refresh", "refresh", 1000).beside(Group::Floors),
    Kind::new("logout", "logout", 250).using_up(),
    Kind::new("sessions", "sessions", 500),
    Kind::new("sessions-revoke", "sessions", 150).using_up(),
    Kind::new("profile", "profile", 1000).beside(Group::Floors),
    Kind::new("profile-update", "profile", 500),
    Kind::new("delete-account", "delete-account", 20)
        .beside(Group::Hashes)
        .using_up(),
    Kind::new("change-password", "change-password", 20).beside(Group::Hashes),
    Kind::new("reset-request", "reset-request", 50),
    Kind::new("reset-confirm", "reset-confirm", 20)
        .beside(Group::Hashes)
        .using_up(),
    Kind::new("verify-email", "verify-email", 50).using_up(),
    Kind::new("verify-resend", "verify-resend", 50),
    Kind::new("two-factor-setup", "two-factor-setup", 50),
    Kind::new("two-factor-verify", "two-factor-verify", 50).using_up(),
    Kind::new("two-factor-disable", "two-factor-disable", 50).using_up(),
];
const AT_ONCE: usize = 16;
/// Must be even: every second round runs in reverse order, so that no endpoint always follows the same one.
const ROUNDS: usize = 10;
/// Endpoints that are compared with the floors are measured in this many systems, one after the other. The same
/// programs, started again, take up to a quarter more or less, depending on their place in memory and the state of the
/// machine.
const SYSTEMS: usize = 5;
const WARM_UP: usize = 2;
/// Node.js first has to compile code that is called often.
const WARM_UP_NODE: usize = 300;

impl Kind {
    pub const fn new(name: &'static str, function: &'static str, count: usize) -> Self {
        Self {
            name,
            function,
            count,
            group: Group::Rest,
            uses_up: false,
        }
    }

    fn warm_up(&self) -> usize {
        match self.function {
            NODE => self.count.min(WARM_UP_NODE),
            _ => WARM_UP,
        }
    }

    const fn beside(self, group: Group) -> Self {
        Self { group, ..self }
    }

    const fn using_up(self) -> Self {
        Self {
            uses_up: true,
            ..self
        }
    }
}

/// Measures the endpoints of these functions: in the system with production's hashes, in the one where signing up is
/// cheap, or in several new systems of the latter kind. Endpoints that are compared run in turn, so that noise affects
/// all of them alike.
pub async fn measure(
    hashing: &Systems,
    others: &Systems,
    another: impl AsyncFn() -> Systems,
    functions: &[&str],
) -> (Vec<Endpoint>, References) {
    let has_node = others.node.is_some();
    let of = |group| {
        let kinds = KINDS.iter().filter(|kind| kind.group == group);
        let is_asked = |kind: &&Kind| match kind.function {
            NODE => has_node,
            function => functions.contains(&function),
        };
        let kinds = kinds.filter(is_asked);
        let kinds = kinds.map(|kind| (kind, Samples::default()));
        kinds.collect::<Vec<_>>()
    };
    let mut beside_floors = of(Group::Floors);
    for system in 1..=SYSTEMS {
        eprintln!("measuring requests compared with the floor, system {system} of {SYSTEMS}");
        in_turn(
            &another().await,
            &mut beside_floors,
            ROUNDS * SYSTEMS,
            || {},
        )
        .await;
        beside_floors.rotate_left(1); // changes which one comes first and last
    }
    eprintln!("measuring other requests");
    let mut rest = of(Group::Rest);
    in_turn(others, &mut rest, ROUNDS, || {}).await;
    eprintln!("measuring requests that hash");
    let (mut beside_hashes, mut references) = (of(Group::Hashes), Bare::new());
    in_turn(hashing, &mut beside_hashes, ROUNDS, || references.hash()).await;

    let mut measured = Vec::new();
    for (systems, kinds) in [
        (others, beside_floors),
        (others, rest),
        (hashing, beside_hashes),
    ] {
        for (kind, samples) in kinds {
            eprintln!("measuring {}, {AT_ONCE} at once", kind.name);
            measured.push(Endpoint {
                name: kind.name,
                cpu: samples.cpu(),
                p50: samples.latency(50),
                p99: samples.latency(99),
                throughput: throughput(systems, kind).await,
            });
        }
    }
    (measured, references.measured())
}

/// Measures these endpoints in turn, in [`ROUNDS`] rounds. A round makes one of `parts` parts of an endpoint's
/// requests.
async fn in_turn(
    systems: &Systems,
    kinds: &mut [(&Kind, Samples)],
    parts: usize,
    mut after_each: impl FnMut(),
) {
    let mut callers = Vec::new();
    for _ in kinds.iter() {
        callers.push([Caller::signed_up(systems).await]);
    }
    for _ in 0..ROUNDS {
        for ((kind, samples), caller) in kinds.iter_mut().zip(&mut callers) {
            samples.add(sequentially(systems, kind, caller, kind.count / parts).await);
        }
        after_each();
        kinds.reverse();
        callers.reverse();
    }
}

/// Measures the successes per second.
async fn throughput(systems: &Systems, kind: &Kind) -> f64 {
    let mut callers = Vec::new();
    for _ in 0..AT_ONCE {
        callers.push(Caller::signed_up(systems).await);
    }
    // Where a request uses something up, each caller makes one request, and then all prepare again.
    let each = kind.count.div_ceil(AT_ONCE);
    let (bursts, in_each) = match kind.uses_up {
        true => (each, 1),
        false => (1, each),
    };
    let (mut busy, mut successes) = (Duration::ZERO, 0);
    for _ in 0..bursts {
        for caller in &mut callers {
            caller.prepare(&systems.world, kind.name).await;
        }
        let begun = Instant::now();
        let asking = callers.iter_mut().map(async |caller| {
            let mut successes = 0;
            for _ in 0..in_each {
                successes += usize::from(caller.ask_prepared(kind.name).await.1);
            }
            successes
        });
        successes += join_all(asking).await.into_iter().sum::<usize>();
        busy += begun.elapsed();
    }
    successes as f64 / busy.as_secs_f64()
}

/// Measurements of sequential requests: the latency and the CPU time in the function's process of each.
#[derive(Default)]
pub struct Samples {
    pub latencies: Vec<Duration>,
    cpu: Vec<Duration>,
}

impl Samples {
    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.cpu.extend(other.cpu);
    }

    fn latency(&self, percent: usize) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort();
        sorted[sorted.len() * percent / 100]
    }

    fn cpu(&self) -> Duration {
        median(self.cpu.clone())
    }
}

/// Makes this many requests, one after the other; the callers take turns.
pub async fn sequentially(
    systems: &Systems,
    kind: &Kind,
    callers: &mut [Caller],
    count: usize,
) -> Samples {
    let (world, number) = (&systems.world, callers.len());
    for at in 0..kind.warm_up() {
        let caller = &mut callers[at % number];
        caller.prepare(world, kind.name).await;
        caller.ask_prepared(kind.name).await; // opens connections, fills caches, lets Node.js compile
    }
    let mut samples = Samples::default();
    for at in 0..count {
        let caller = &mut callers[at % number];
        caller.prepare(world, kind.name).await;
        let before = cpu_time(systems, kind.function);
        let (took, succeeded) = caller.ask_prepared(kind.name).await;
        assert!(succeeded, "{} fails", kind.name);
        samples.latencies.push(took);
        samples.cpu.push(cpu_time(systems, kind.function) - before);
    }
    samples
}

fn cpu_time(systems: &Systems, function: &str) -> Duration {
    if function == NODE {
        return process::cpu_time(systems.node.as_ref().expect("a server").process);
    }
    let processes = systems.world.local().idle_processes(function);
    processes.into_iter().map(process::cpu_time).sum()
}

/// A client with an account and its current tokens.
pub struct Caller {
    client: Client,
    account: Account,
    /// Something that works once: a mailed token, a code, a session's id.
    once: String,
    node: Option<AtNode>,
}

/// The account's tokens at the Node.js server.
struct AtNode {
    client: Client,
    access: String,
    refresh: String,
}

impl Caller {
    pub fn new(client: Client, account: Account) -> Self {
        Self {
            client,
            account,
            once: String::new(),
            node: None,
        }
    }

    async fn signed_up(systems: &Systems) -> Self {
        let client = systems.world.client();
        let account = client.register().await;
        let mut caller = Self::new(client, account);
        if let Some(node) = &systems.node {
            let client = systems.world.client().at(&node.url);
            caller.node = Some(AtNode {
                client,
                access: String::new(),
                refresh: String::new(),
            });
            assert!(
                caller.ask_prepared(NODE_LOGIN).await.1,
                "the sign-in at the Node.js server fails"
            );
        }
        caller
    }

    /// Prepares what the measured request needs.
    async fn prepare(&mut self, world: &World, name: &str) {
        let client = &self.client;
        match name {
            "logout" => {
                (self.account.access, self.account.refresh) = client.login(&self.account).await;
            }
            "sessions-revoke" => {
                let (access, _) = client.login(&self.account).await;
                let claims = token::parts(&access).1;
                claims["sid"]
                    .as_str()
                    .expect("an id")
                    .clone_into(&mut self.once);
            }
            "delete-account" => self.account = client.register().await,
            "reset-confirm" => {
                let body = json!({ "email": self.account.email });
                client.post("/api/auth/password-reset/request", body).await;
                self.once = world
                    .mailed_token("reset_password", &self.account.email)
                    .await;
            }
            "verify-email" => {
                self.account = client.register().await;
                self.once = world
                    .mailed_token("verify_email", &self.account.email)
                    .await;
            }
            "two-factor-verify" => {
                self.account = client.register().await;
                let path = "/api/auth/2fa/setup";
                let setup = client.post_as(&self.account.access, path, json!({})).await;
                self.once = Authenticator::scan(&setup).next().await;
            }
            "two-factor-disable" => {
                self.account = client.register().await;
                let (_, codes) = client.enrol(&self.account).await;
                self.once.clone_from(&codes[0]);
            }
            _ => {}
        }
    }

    /// Makes the request; returns how long it took and whether it succeeded.
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
        let token = |name: &str| {
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            body[name].as_str().expect("a token").to_owned()
        };
        match (name, &mut self.node) {
            ("refresh", _) => self.account.refresh = token("refreshToken"),
            (NODE_LOGIN | NODE_REFRESH, Some(node)) => {
                (node.access, node.refresh) = (token("accessToken"), token("refreshToken"));
            }
            ("change-password" | "reset-confirm", _) => self.account.password = new,
            _ => {}
        }
        (took, true)
    }

    fn request(&self, name: &str, new_password: &str) -> RequestBuilder {
        let account = &self.account;
        let request = |method, path| self.client.request(method, path);
        let post = |path, body: &Value| request(Method::POST, path).json(body);
        let as_user = |request: RequestBuilder| request.bearer_auth(&account.access);
        let refresh_token = json!({ "refreshToken": account.refresh });
        let at_node = || self.node.as_ref().expect("a server");
        let node = |method, path| at_node().client.request(method, path);
        match name {
            // The same event as for a refresh, the longest of the events that are compared with it.
            FLOOR => post("/floor", &refresh_token),
            EXCHANGE => post("/exchange", &refresh_token),
            NODE_LOGIN => node(Method::POST, "/api/auth/login")
                .json(&json!({ "email": account.email, "password": account.password })),
            NODE_REFRESH => node(Method::POST, "/api/auth/refresh")
                .json(&json!({ "refreshToken": at_node().refresh })),
            NODE_PROFILE => node(Method::GET, "/api/auth/profile").bearer_auth(&at_node().access),
            "register" => post(
                "/api/auth/register",
                &json!({ "email": unique_email(), "password": new_password }),
            ),
            "login" => post(
                "/api/auth/login",
                &json!({ "email": account.email, "password": account.password }),
            ),
            "refresh" => post("/api/auth/refresh", &refresh_token),
            "profile" => as_user(request(Method::GET, "/api/auth/profile")),
            "profile-update" => as_user(
                request(Method::PUT, "/api/auth/profile").json(&json!({ "name": new_password })),
            ),
            "sessions" => as_user(request(Method::GET, "/api/auth/sessions")),
            "logout" => as_user(request(Method::POST, "/api/auth/logout")),
            "sessions-revoke" => as_user(request(
                Method::DELETE,
                &format!("/api/auth/sessions/{}", self.once),
            )),
            "delete-account" => as_user(
                request(Method::DELETE, "/api/auth/profile")
                    .json(&json!({ "password": account.password })),
            ),
            "reset-request" => post(
                "/api/auth/password-reset/request",
                &json!({ "email": account.email }),
            ),
            "reset-confirm" => post(
                "/api/auth/password-reset/confirm",
                &json!({ "token": self.once, "newPassword": new_password }),
            ),
            "verify-email" => post("/api/auth/verify-email", &json!({ "token": self.once })),
            "verify-resend" => post(
                "/api/auth/verify-email/resend",
                &json!({ "email": account.email }),
            ),
            "two-factor-setup" => as_user(post("/api/auth/2fa/setup", &json!({}))),
            "two-factor-verify" => {
                as_user(post("/api/auth/2fa/verify", &json!({ "token": self.once })))
            }
            "two-factor-disable" => as_user(post(
                "/api/auth/2fa/disable",
                &json!({ "token": self.once }),
            )),
            "change-password" => as_user(request(Method::POST, "/api/auth/change-password").json(
                &json!({ "currentPassword": account.password, "newPassword": new_password }),
            )),
            _ => panic!("no endpoint {name}"),
        }
    }
}
