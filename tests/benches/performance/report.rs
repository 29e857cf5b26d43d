//! Reports the measurements: tables for people, JSON for programs, and a comparison with the targets.

use std::collections::BTreeMap;
use std::time::Duration;

use local::build;
use serde_json::{Value, json};

use crate::endpoints::{Endpoint, NODE_PROFILE, NODE_REFRESH};
use crate::functions::{FirstLogin, Function};
use crate::growth::Growth;
use crate::references::References;
use crate::{EXCHANGE, FLOOR, milliseconds};

/// The measurements of one set of binaries.
pub struct Measured {
    pub functions: BTreeMap<String, Function>,
    pub first_login: FirstLogin,
    pub endpoints: Vec<Endpoint>,
    /// Measured in turn with the endpoints that hash.
    pub references: References,
}

/// All measurements of one run.
pub struct Report {
    pub now: Measured,
    pub before: Option<Measured>,
    /// From the fewest users to the most.
    pub growth: Vec<Growth>,
}

/// A ratio and its upper limit.
struct Target {
    what: String,
    value: Option<f64>,
    most: f64,
}

impl Target {
    fn new(what: impl Into<String>, value: f64, most: f64) -> Self {
        Self {
            what: what.into(),
            value: Some(value),
            most,
        }
    }
}

impl Measured {
    fn floor(&self) -> &Function {
        &self.functions[FLOOR]
    }

    fn cpu(&self, endpoint: &str) -> Option<Duration> {
        let mut endpoints = self.endpoints.iter();
        let found = endpoints.find(|one| one.name == endpoint);
        found.map(|one| one.cpu)
    }

    /// Returns the largest value of a figure among the workspace's functions, with the function's name.
    fn largest(&self, figure: impl Fn(&Function) -> f64) -> (&str, f64) {
        let own = self.functions.iter();
        let own = own.filter(|(name, _)| ![FLOOR, EXCHANGE].contains(&name.as_str()));
        let figures = own.map(|(name, function)| (name.as_str(), figure(function)));
        let largest = figures.max_by(|(_, one), (_, other)| one.total_cmp(other));
        largest.expect("functions")
    }
}

impl Report {
    fn targets(&self) -> Vec<Target> {
        let (now, references) = (&self.now, &self.now.references);
        let floor = now.floor();
        let (slowest, start) = now.largest(|one| ratio(one.start, floor.start));
        let (fattest, idle) = now.largest(|one| one.idle_bytes as f64 / floor.idle_bytes as f64);
        let (largest, size) = now.largest(|one| mebibytes(one.binary_bytes));
        let login = now.cpu("login").expect("a login");
        let mut targets = vec![
            Target::new(format!("start / floor ({slowest})"), start, 2.0),
            Target::new(format!("resident, idle / floor ({fattest})"), idle, 3.0),
            Target::new(format!("binary, MiB ({largest})"), size, 10.0),
            Target::new(
                "CPU of a login / one Argon2id in retained memory",
                ratio(login, references.retained),
                1.05,
            ),
        ];
        for (endpoint, at_node) in [("profile", NODE_PROFILE), ("refresh", NODE_REFRESH)] {
            let cpu = now.cpu(endpoint).expect("an endpoint");
            let exchange = now.cpu(EXCHANGE).expect("an endpoint");
            targets.push(Target::new(
                format!("CPU of {endpoint} / of a function that makes the same two calls"),
                ratio(cpu, exchange),
                1.6,
            ));
            targets.push(Target {
                what: format!("CPU of {endpoint} / of the same call at a Node.js server"),
                value: now.cpu(at_node).map(|node| ratio(cpu, node)),
                most: 0.7,
            });
        }
        if let [few, many] = &self.growth[..] {
            for ((endpoint, few_took), (_, many_took)) in few.latencies.iter().zip(&many.latencies)
            {
                let (few, many) = (few.users, many.users);
                let what = format!("latency of {endpoint} beside {many} users / beside {few}");
                targets.push(Target::new(what, ratio(*many_took, *few_took), 1.2));
            }
        }
        targets
    }

    pub fn print(&self) {
        println!("{}\n", machine());
        let references = &self.now.references;
        println!("| one Argon2id (64 MiB, 3 passes, 4 lanes) | CPU, ms |\n|---|---|");
        println!(
            "| crate argon2, retained memory | {} |",
            ms(references.retained)
        );
        println!("| crate argon2, fresh memory | {} |", ms(references.fresh));
        match references.c {
            Some(c) => println!("| C reference implementation | {} |", ms(c)),
            None => {
                println!("| C reference implementation | the program `argon2` is not installed |")
            }
        }
        if let Some(before) = &self.before {
            println!("\nThe other binaries (`--before`):");
            before.print();
        }
        for growth in &self.growth {
            let latencies = growth.latencies.iter();
            let latencies = latencies.map(|(name, took)| format!("{name} {} ms", ms(*took)));
            let latencies: Vec<String> = latencies.collect();
            let (users, sessions) = (growth.users, growth.sessions);
            println!(
                "\nWith {users} users and {sessions} sessions: {}.",
                latencies.join(", ")
            );
        }
        println!("\n| target | measured | at most | |\n|---|---|---|---|");
        for Target { what, value, most } in self.targets() {
            let (figure, verdict) = match value {
                Some(value) if value <= most => (format!("{value:.2}"), "met"),
                Some(value) => (format!("{value:.2}"), "missed"),
                None => ("".to_owned(), "not measured"),
            };
            println!("| {what} | {figure} | {most} | {verdict} |");
        }
    }

    /// Writes `target/bench/performance.json`.
    pub fn write(&self) {
        let targets = self.targets().into_iter();
        let targets = targets.map(
            |Target { what, value, most }| json!({ "what": what, "value": value, "most": most }),
        );
        let references = &self.now.references;
        let report = json!({
            "machine": machine(),
            "references_cpu_ms": {
                "argon2_retained": milliseconds(references.retained),
                "argon2_fresh": milliseconds(references.fresh),
                "argon2_c": references.c.map(milliseconds),
            },
            "now": self.now.json(),
            "before": self.before.as_ref().map(Measured::json),
            "growth": self.growth.iter().map(growth).collect::<Vec<Value>>(),
            "targets": targets.collect::<Vec<Value>>(),
        });
        let folder = build::workspace().join("target/bench");
        std::fs::create_dir_all(&folder).expect("a folder");
        let text = serde_json::to_vec_pretty(&report).expect("JSON");
        std::fs::write(folder.join("performance.json"), text).expect("a file");
    }
}

impl Measured {
    pub fn print(&self) {
        let floor = self.floor();
        println!(
            "\n| function | exec → `next`, ms | × floor | binary, MiB | resident idle, MiB | × floor | after 1000 requests, MiB |"
        );
        println!("|---|---|---|---|---|---|---|");
        for (name, one) in &self.functions {
            println!(
                "| {name} | {} | {:.2} | {:.1} | {:.1} | {:.2} | {:.1} |",
                ms(one.start),
                ratio(one.start, floor.start),
                mebibytes(one.binary_bytes),
                mebibytes(one.idle_bytes),
                one.idle_bytes as f64 / floor.idle_bytes as f64,
                mebibytes(one.used_bytes),
            );
        }
        let first = &self.first_login;
        println!(
            "\nThe first login of an environment takes {} ms of CPU, a later one {}.",
            ms(first.first),
            ms(first.warm)
        );
        println!("\n| endpoint | CPU, ms | p50, ms | p99, ms | requests/s, 16 at once |");
        println!("|---|---|---|---|---|");
        for one in &self.endpoints {
            println!(
                "| {} | {} | {} | {} | {:.0} |",
                one.name,
                ms(one.cpu),
                ms(one.p50),
                ms(one.p99),
                one.throughput
            );
        }
    }

    fn json(&self) -> Value {
        let function = |(name, one): (&String, &Function)| {
            let figures = json!({
                "start_ms": milliseconds(one.start),
                "binary_bytes": one.binary_bytes,
                "resident_idle_bytes": one.idle_bytes,
                "resident_used_bytes": one.used_bytes,
            });
            (name.clone(), figures)
        };
        let endpoint = |one: &Endpoint| {
            let figures = json!({
                "cpu_ms": milliseconds(one.cpu),
                "p50_ms": milliseconds(one.p50),
                "p99_ms": milliseconds(one.p99),
                "requests_per_second": one.throughput,
            });
            (one.name.to_owned(), figures)
        };
        json!({
            "functions": self.functions.iter().map(function).collect::<BTreeMap<_, _>>(),
            "first_login_cpu_ms": milliseconds(self.first_login.first),
            "later_login_cpu_ms": milliseconds(self.first_login.warm),
            "endpoints": self.endpoints.iter().map(endpoint).collect::<BTreeMap<_, _>>(),
        })
    }
}

fn growth(growth: &Growth) -> Value {
    let latencies = growth.latencies.iter();
    let latencies = latencies.map(|(name, took)| (*name, milliseconds(*took)));
    json!({
        "users": growth.users,
        "sessions": growth.sessions,
        "p50_ms": latencies.collect::<BTreeMap<_, _>>(),
    })
}

/// Describes the machine: its processor, number of cores and memory.
fn machine() -> String {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let processor = field(&read("/proc/cpuinfo"), "model name");
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores ({processor}), {memory} of memory")
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}

fn ms(time: Duration) -> String {
    format!("{:.2}", milliseconds(time))
}
