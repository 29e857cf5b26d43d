//! A world: the whole system for one test, with its own tables, Redis and logs; or the deployment
//! at `GATEHOUSE_URL`.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use local::build::{self, Binaries};
use local::lambda::Lambda;
use local::log::Log;
use local::mail::Mail;
use local::redis::Redis;
use local::{Info, Local, Options};
use redis::Commands;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use serde_with::{As, MapPreventDuplicates, Same};

use crate::client::Client;
use crate::dynamodb::DynamoDb;
use crate::observed::Observed;
use crate::peers::{FaultyService, TcpProxy, address};
use crate::token;
pub use crate::workspace::read;

/// The cheapest hash that is allowed outside production.
const CHEAP_HASHES: [(&str, &str); 3] = [
    ("ARGON2_MEMORY_KIB", "1024"),
    ("ARGON2_ITERATIONS", "1"),
    ("ARGON2_PARALLELISM", "1"),
];

/// The variable with the URL of a deployment's mails, in the format of `cargo local` at `/_local/mail`.
const MAIL_URL: &str = "GATEHOUSE_MAIL_URL";

/// The variable with the URL of an application that a deployment protects, made of `examples/sam`.
const APPLICATION_URL: &str = "GATEHOUSE_APPLICATION_URL";

/// The variable that sets all limits.
const RATE_LIMITS: &str = "RATE_LIMITS";

/// The secret from which mailed tokens are derived, so that tests can derive them too.
pub const EMAIL_TOKEN_SECRET: &str = "an email token secret of 32 bytes or more";

/// The system under test.
pub struct World {
    target: Target,
    next_address: AtomicU32,
    observed: Observed,
    /// The folder of programs that the world runs; it exists as long as the world.
    wrappers: Option<tempfile::TempDir>,
}

enum Target {
    Inside(Box<Local>),
    Deployment(String),
}

/// Returns the records of all sessions in a Redis, by id.
pub fn sessions(redis: &mut impl redis::ConnectionLike) -> BTreeMap<String, Value> {
    let keys: Vec<String> = redis.keys("sessions:*}").expect("keys");
    let records = keys.iter().flat_map(|key| {
        let hash: BTreeMap<String, String> = redis.hgetall(key).expect("a hash");
        hash
    });
    let record = |(id, json): (String, String)| (id, serde_json::from_str(&json).expect("JSON"));
    records.map(record).collect()
}

/// The options of a world; only differences from the default are set.
pub struct Builder {
    variables: BTreeMap<String, String>,
    binaries: Option<Binaries>,
    data_dir: Option<PathBuf>,
    sam_env: Option<PathBuf>,
    template: Option<tempfile::TempDir>,
    applications: Vec<PathBuf>,
    /// Functions with wrong clocks, and the offsets of their clocks.
    clocks: Vec<(&'static str, &'static str)>,
}

impl Builder {
    /// Sets a function's clock wrong by this offset (`+5s`). Without faketime, reports the skipped test and returns
    /// `None`.
    pub fn clock(mut self, function: &'static str, offset: &'static str) -> Option<Self> {
        if Command::new("faketime").arg("--version").output().is_err() {
            skip("faketime is not installed");
            return None;
        }
        self.clocks.push((function, offset));
        Some(self)
    }

    /// Sets a variable of every function that has it.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Uses these binaries instead of those built for tests.
    pub fn binaries(mut self, binaries: Binaries) -> Self {
        self.binaries = Some(binaries);
        self
    }

    /// Makes hashes as expensive as in production.
    pub fn production_hashes(mut self) -> Self {
        for (name, _) in CHEAP_HASHES {
            self.variables.remove(name);
        }
        self
    }

    /// Keeps the default limits.
    pub fn default_limits(mut self) -> Self {
        self.variables.remove(RATE_LIMITS);
        self
    }

    /// Keeps the data in this folder, where it outlives the world.
    pub fn data_dir(mut self, folder: &Path) -> Self {
        self.data_dir = Some(folder.to_owned());
        self
    }

    /// Writes the functions' variables to this file, for `sam local`.
    pub fn sam_env(mut self, file: &Path) -> Self {
        self.sam_env = Some(file.to_owned());
        self
    }

    /// Runs the application of this template of the workspace beside it.
    pub fn application(mut self, template: &str) -> Self {
        self.applications.push(build::workspace().join(template));
        self
    }

    /// Adds the function `fixture` to the workspace's own.
    pub fn fixture(self) -> Self {
        let resource = build::workspace().join("tests/fixture/resource.yaml");
        let resource = std::fs::read_to_string(resource).expect("the fixture");
        self.template("\nOutputs:", &format!("\n{resource}\nOutputs:"))
    }

    /// Replaces a text in the functions' template.
    pub fn template(mut self, from: &str, to: &str) -> Self {
        let workspace = build::workspace();
        let folder = tempfile::tempdir().expect("a folder");
        let copy = |file: &Path| {
            let text = std::fs::read_to_string(workspace.join(file)).expect("a template");
            let text = if file.ends_with("functions.yaml") {
                assert_eq!(text.matches(from).count(), 1, "{from}");
                text.replace(from, to)
            } else {
                text
            };
            std::fs::write(folder.path().join(file), text).expect("a file");
        };
        std::fs::create_dir(folder.path().join("infra")).expect("a folder");
        copy(Path::new("template.yaml"));
        for entry in std::fs::read_dir(workspace.join("infra")).expect("templates") {
            let path = entry.expect("an entry").path();
            if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                copy(
                    path.strip_prefix(&workspace)
                        .expect("a path in the workspace"),
                );
            }
        }
        self.template = Some(folder);
        self
    }

    /// Starts the world. Returns `None` for a deployment, which cannot be started in another way.
    pub fn start(self) -> Option<World> {
        if deployment().is_some() {
            skip("needs a system of its own, and this is a deployment");
            return None;
        }
        Some(
            self.try_start()
                .unwrap_or_else(|error| panic!("the stack does not start: {error}")),
        )
    }

    /// Starts it with its application; returns the application's address as well. For a deployment that is the one in
    /// `GATEHOUSE_APPLICATION_URL`.
    pub fn start_with_application(self) -> Option<(World, String)> {
        let Some(url) = deployment() else {
            let world = self.start()?;
            let application = world.local().info().applications[0].clone();
            return Some((world, application));
        };
        let Ok(application) = std::env::var(APPLICATION_URL) else {
            skip("needs an application, and there is no GATEHOUSE_APPLICATION_URL");
            return None;
        };
        Some((World::new(Target::Deployment(url)), application))
    }

    /// Starts it with a DynamoDB that fails on command.
    pub async fn behind_faulty_dynamodb(self) -> Option<(World, FaultyService)> {
        self.behind_faulty("AWS_ENDPOINT_URL_DYNAMODB", |info| &info.dynamodb_url)
            .await
    }

    /// Starts it with an SES that fails on command.
    pub async fn behind_faulty_ses(self) -> Option<(World, FaultyService)> {
        self.behind_faulty("AWS_ENDPOINT_URL_SESV2", |info| &info.ses_url)
            .await
    }

    /// Starts it with a DynamoDB behind a proxy.
    pub async fn behind_dynamodb_proxy(self) -> Option<(World, TcpProxy)> {
        let proxy = TcpProxy::start("127.0.0.1:9").await;
        let url = format!("http://{}", proxy.address);
        let world = self.variable("AWS_ENDPOINT_URL_DYNAMODB", &url).start()?;
        proxy.set_upstream(address(&world.local().info().dynamodb_url));
        Some((world, proxy))
    }

    /// Starts it with a Redis behind a proxy.
    pub async fn behind_redis_proxy(self) -> Option<(World, TcpProxy, Redis)> {
        let redis = Redis::start(None, &[]).expect("a Redis");
        let proxy = TcpProxy::start(address(&redis.url)).await;
        let url = format!("redis://{}", proxy.address);
        let world = self.variable("REDIS_URL", &url).start()?;
        Some((world, proxy, redis))
    }

    /// Starts it with a faulty proxy for the service whose URL is in this variable.
    async fn behind_faulty(
        self,
        variable: &str,
        upstream: fn(&Info) -> &str,
    ) -> Option<(World, FaultyService)> {
        let faulty = FaultyService::start().await;
        let world = self.variable(variable, &faulty.url).start()?;
        faulty.set_upstream(upstream(world.local().info()));
        Some((world, faulty))
    }

    /// Starts it, or returns why it does not start.
    pub fn try_start(self) -> Result<World, String> {
        let wrappers = tempfile::tempdir().expect("a folder");
        let mut binaries = self.binaries.unwrap_or_else(|| binaries().clone());
        for (function, offset) in self.clocks {
            let binary = binaries.get_mut(function).expect("a function");
            *binary = with_clock(wrappers.path(), function, binary, offset);
        }
        let mut options = Options::new(binaries, Log::kept());
        options.variables = self.variables;
        options.data_dir = self.data_dir;
        options.sam_env = self.sam_env;
        options.applications = self.applications;
        if let Some(folder) = &self.template {
            options.template = folder.path().join("template.yaml");
        }
        let local = Local::start(options).map_err(|error| error.to_string())?;
        let mut world = World::new(Target::Inside(Box::new(local)));
        world.wrappers = Some(wrappers);
        Ok(world)
    }
}

/// Writes a program that runs a function with another clock.
fn with_clock(folder: &Path, function: &str, binary: &Path, offset: &str) -> PathBuf {
    let path = folder.join(function);
    let binary = binary.display();
    let script = format!("#!/bin/sh\nexec /usr/bin/faketime -f '{offset}' '{binary}'\n");
    std::fs::write(&path, script).expect("a file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("an executable");
    path
}

impl World {
    /// Starts the system with its defaults, or connects to the deployment.
    pub fn start() -> Self {
        match deployment() {
            Some(url) => Self::new(Target::Deployment(url)),
            None => Self::build()
                .try_start()
                .unwrap_or_else(|error| panic!("the stack does not start: {error}")),
        }
    }

    /// Returns a builder for a system with other options than the default.
    pub fn build() -> Builder {
        let variables = CHEAP_HASHES
            .into_iter()
            .chain([
                ("EMAIL_TOKEN_SECRET", EMAIL_TOKEN_SECRET),
                // Tests make more requests than people do. Tests about limits set the limits that they need.
                (RATE_LIMITS, "off"),
            ])
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Builder {
            variables: variables.collect(),
            binaries: None,
            data_dir: None,
            sam_env: None,
            template: None,
            applications: Vec::new(),
            clocks: Vec::new(),
        }
    }

    /// Starts the system with its defaults, or connects to the deployment if its mails can be read.
    pub fn with_mail() -> Option<Self> {
        if deployment().is_some() && std::env::var_os(MAIL_URL).is_none() {
            skip("needs to read mails, and there is no GATEHOUSE_MAIL_URL");
            return None;
        }
        Some(Self::start())
    }

    /// Starts the system with its defaults, for tests that look inside it.
    pub fn inside() -> Option<Self> {
        Self::build().start()
    }

    fn new(target: Target) -> Self {
        Self {
            target,
            next_address: AtomicU32::new(1),
            observed: Observed::default(),
            wrappers: None,
        }
    }

    pub fn url(&self) -> &str {
        match &self.target {
            Target::Inside(local) => &local.info().url,
            Target::Deployment(url) => url,
        }
    }

    /// Returns the stack itself. Panics for a deployment.
    pub fn local(&self) -> &Local {
        match &self.target {
            Target::Inside(local) => local,
            Target::Deployment(_) => panic!("a deployment cannot be looked into"),
        }
    }

    /// Returns a client with an address of its own (all of 127.0.0.0/8 is this machine).
    pub fn client(&self) -> Client {
        let number = self.next_address.fetch_add(1, Ordering::Relaxed);
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 1, 0).to_bits() + number);
        let client = Client::new(self.url(), address, self.observed.clone());
        // A deployment may be as busy with others as with the tests.
        match deployment() {
            Some(_) => client.patient(),
            None => client,
        }
    }

    /// Backdates a session, as if its user had signed in this many minutes earlier.
    pub fn age_session(&self, access: &str, minutes: i64) {
        let (_, claims) = token::parts(access);
        let key = format!("sessions:{{{}}}", claims["sub"].as_str().expect("a user"));
        let id = claims["sid"].as_str().expect("a session");
        let mut redis = self.redis();
        let record: String = redis.hget(&key, id).expect("a session");
        let mut record: Value = serde_json::from_str(&record).expect("JSON");
        let created_at = record["created_at"].as_i64().expect("a time");
        record["created_at"] = (created_at - minutes * 60_000).into();
        let _: () = redis.hset(&key, id, record.to_string()).expect("it is set");
    }

    pub fn dynamodb(&self) -> DynamoDb {
        DynamoDb::new(self.local().info())
    }

    /// Returns the token of the newest mail of this kind to this address, derived from the outbox entry as the mailer
    /// does.
    pub async fn mailed_token(&self, kind: &str, to: &str) -> String {
        let mut mails = self.dynamodb().items("OUTBOX#").await;
        mails.retain(|mail| mail["kind"]["S"] == kind && mail["to"]["S"] == to);
        mails.sort_by_key(|mail| mail["pk"]["S"].as_str().map(str::to_owned));
        let mail = mails
            .last()
            .unwrap_or_else(|| panic!("no mail {kind} to {to}"));
        let purpose = match kind {
            "two_factor_on" => "undo-two-factor".to_owned(),
            "reset_required" => "reset-password".to_owned(),
            kind => kind.replace('_', "-"),
        };
        self.token(&purpose, mail["token_id"]["S"].as_str().unwrap())
    }

    /// Returns the token of the link "this wasn't me" in the mails to this address.
    pub async fn rejection_token(&self, to: &str) -> String {
        let mails = self.dynamodb().items("OUTBOX#").await;
        let mut mails = mails.iter().filter(|mail| mail["to"]["S"] == to);
        let id = mails.find_map(|mail| mail["rejection_token_id"]["S"].as_str());
        self.token("reject-email", id.expect("a mail with this link"))
    }

    fn token(&self, purpose: &str, id: &str) -> String {
        let token = token::mailed(EMAIL_TOKEN_SECRET, purpose, id);
        self.observed.secret(&token);
        token
    }

    /// Counts the mails of this kind to this address in the outbox.
    pub async fn mails(&self, kind: &str, to: &str) -> usize {
        let mails = self.dynamodb().items("OUTBOX#").await;
        let is_asked = |mail: &&Value| mail["kind"]["S"] == kind && mail["to"]["S"] == to;
        mails.iter().filter(is_asked).count()
    }

    /// Returns the newest mail to this address with this text in its subject, once it has arrived.
    pub async fn mail(&self, to: &str, subject: &str) -> Mail {
        let started = Instant::now();
        loop {
            if let Some(mail) = self.mails_about(to, subject).await.into_iter().next() {
                return mail;
            }
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "no mail about {subject}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns the mails to this address with this text in their subjects, newest first.
    pub async fn mails_about(&self, to: &str, subject: &str) -> Vec<Mail> {
        let mut mails = self.inbox().await;
        mails.retain(|mail| mail.to == [to] && mail.subject.contains(subject));
        mails
    }

    /// Returns all sent mails, newest first.
    async fn inbox(&self) -> Vec<Mail> {
        match &self.target {
            Target::Inside(local) => local.mails(),
            Target::Deployment(_) => {
                let url = std::env::var(MAIL_URL).expect("an inbox");
                let answer = reqwest::get(url).await.expect("the inbox answers");
                answer.json().await.expect("mails")
            }
        }
    }

    /// Connects to the world's Redis, to look at its keys.
    pub fn redis(&self) -> redis::Connection {
        let client = redis::Client::open(self.local().info().redis_url.as_str()).unwrap();
        client.get_connection().unwrap()
    }

    /// Returns a function of the world once more, with these variables changed and without environments yet.
    pub fn another_lambda(
        &self,
        binaries: &Binaries,
        name: &str,
        changed: &[(&str, &str)],
    ) -> Lambda {
        let lambda = self.local().lambda(name).expect("a function");
        let (function, mut variables) = (lambda.function.clone(), lambda.variables().clone());
        let changed = changed.iter();
        variables.extend(changed.map(|(name, value)| ((*name).into(), (*value).into())));
        Lambda::new(function, binaries[name].clone(), variables, Log::kept())
    }

    /// Returns the keys in the world's Redis that match this pattern.
    pub fn redis_keys(&self, pattern: &str) -> Vec<String> {
        self.redis().keys(pattern).unwrap()
    }

    /// Returns the records of all sessions in the world's Redis, by id.
    pub fn sessions(&self) -> BTreeMap<String, Value> {
        sessions(&mut self.redis())
    }

    /// Returns the functions' log lines, each after its function's name. Lines arrive a little after the answers, so
    /// this waits until every answered request has its line.
    pub fn log_lines(&self) -> Vec<String> {
        let started = Instant::now();
        loop {
            let lines = self.local().log_lines();
            let has_line = |id: &String| {
                lines
                    .iter()
                    .any(|line| is_request_line(line) && line.contains(id.as_str()))
            };
            if self.observed.requests().iter().all(has_line) {
                return lines;
            }
            assert!(
                started.elapsed() < Duration::from_secs(10),
                "an answered request has no line in the log"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the log lines that are JSON, without the function's name.
    pub fn log(&self) -> Vec<Value> {
        let lines = self.log_lines();
        let json = |line: &String| serde_json::from_str(line.split_once(": ")?.1).ok();
        lines.iter().filter_map(json).collect()
    }

    /// Returns the lines with a repeated key. Programs that read such a line see one of the values, or refuse the line.
    fn ambiguous_lines(&self) -> Vec<String> {
        type Unique = As<MapPreventDuplicates<Same, Same>>;
        let mut lines = self.log_lines();
        lines.retain(|line| {
            let json = line.split_once(": ").unwrap_or_default().1;
            let is_object = serde_json::from_str::<Map<String, Value>>(json).is_ok();
            let mut json = serde_json::Deserializer::from_str(json);
            let unique: Result<BTreeMap<String, IgnoredAny>, _> = Unique::deserialize(&mut json);
            is_object && unique.is_err()
        });
        lines
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A failed test has already reported the reason.
        if std::thread::panicking() || matches!(self.target, Target::Deployment(_)) {
            return;
        }
        let leaks = self.observed.found_in(&self.log_lines());
        assert!(leaks.is_empty(), "secrets in the log: {leaks:#?}");
        let ambiguous = self.ambiguous_lines();
        assert!(
            ambiguous.is_empty(),
            "repeated keys in the log: {ambiguous:#?}"
        );
    }
}

/// Waits until a condition holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "timed out: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is_request_line(line: &str) -> bool {
    line.contains(r#""message":"request""#)
}

/// Returns whether tests can look inside; if not, reports that this test is skipped.
pub fn is_inside() -> bool {
    let is_inside = deployment().is_none();
    if !is_inside {
        skip("needs to look inside, and this is a deployment");
    }
    is_inside
}

fn deployment() -> Option<String> {
    std::env::var("GATEHOUSE_URL")
        .ok()
        .map(|url| url.trim_end_matches('/').to_owned())
}

/// Reports a skipped test on standard error, past the capture of test output. In CI, a test may be skipped only against
/// a deployment.
///
/// # Panics
/// In CI, against a system of the test's own.
pub(crate) fn skip(why: &str) {
    let may_be_skipped = deployment().is_some() || std::env::var_os("CI").is_none();
    assert!(may_be_skipped, "CI skips no test: {why}");
    let thread = std::thread::current();
    let _ = writeln!(
        std::io::stderr(),
        "skipped: {}: {why}",
        thread.name().unwrap_or_default()
    );
}

/// Returns the functions' binaries, built once for all tests of this process. Benchmarks, which are optimised, measure
/// optimised functions.
pub fn binaries() -> &'static Binaries {
    static BINARIES: OnceLock<Binaries> = OnceLock::new();
    BINARIES.get_or_init(|| {
        build::build(!cfg!(debug_assertions)).unwrap_or_else(|error| panic!("{error}"))
    })
}
