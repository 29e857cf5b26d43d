//! Measures each function by itself: how soon an environment is ready, how large it is, and what its first login costs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use harness::{World, process};
use local::build::{self, Binaries};

use crate::{EXCHANGE, FLOOR, median};

const STARTS: usize = 20;
const REQUESTS: usize = 1000;
/// The number of environments whose first login is measured.
const FIRST_LOGINS: usize = 21;
/// The time after which an environment has finished its background work at start.
const SETTLED: Duration = Duration::from_millis(300);

/// The measurements of one function.
pub struct Function {
    /// The time from exec to the first request for work (`next`).
    pub start: Duration,
    pub binary_bytes: u64,
    pub idle_bytes: u64,
    /// After 1000 requests with the function's sample event.
    pub used_bytes: u64,
}

pub async fn measure(
    world: &World,
    binaries: &Binaries,
    names: &[&str],
) -> BTreeMap<String, Function> {
    let mut starts: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    eprintln!("measuring {STARTS} starts of {} functions", names.len());
    // In turn, so that noise affects all of them alike.
    for _ in 0..STARTS {
        for name in names {
            let lambda = world.another_lambda(binaries, name, &[]);
            let begun = Instant::now();
            lambda.warm_up().await.expect("it starts");
            starts.entry(name).or_default().push(begun.elapsed());
            lambda.stop().await;
        }
    }
    eprintln!("measuring memory");
    let resident = names.iter().map(|name| resident(world, binaries, name));
    let resident = futures_util::future::join_all(resident).await;
    let measured = |(name, [idle_bytes, used_bytes]): (&&str, [u64; 2])| {
        let binary = binaries[*name].metadata().expect("a binary");
        let function = Function {
            start: median(starts[name].clone()),
            binary_bytes: binary.len(),
            idle_bytes,
            used_bytes,
        };
        ((*name).to_owned(), function)
    };
    names.iter().zip(resident).map(measured).collect()
}

async fn resident(world: &World, binaries: &Binaries, name: &str) -> [u64; 2] {
    // One Argon2 pass fills the same memory as three, in a third of the time.
    let lambda = world.another_lambda(binaries, name, &[("ARGON2_ITERATIONS", "1")]);
    lambda.warm_up().await.expect("it starts");
    tokio::time::sleep(SETTLED).await;
    let [process] = lambda.idle_processes()[..] else {
        panic!("expected exactly one environment");
    };
    let idle = process::resident_bytes(process);
    let event = event(name);
    for _ in 0..REQUESTS {
        let answer = lambda.invoke(event.clone()).await;
        answer.unwrap_or_else(|error| panic!("{name} does not answer: {error:?}"));
    }
    let used = process::resident_bytes(process);
    lambda.stop().await;
    [idle, used]
}

/// Reads the function's sample event.
fn event(name: &str) -> Bytes {
    let name = match name {
        FLOOR | EXCHANGE => "profile",
        name => name,
    };
    let file = Path::new("events").join(format!("{name}.json"));
    let event = std::fs::read(build::workspace().join(file));
    event.expect("a sample event").into()
}

/// The CPU time of an environment's first login, and of later ones.
pub struct FirstLogin {
    pub first: Duration,
    pub warm: Duration,
}

pub async fn first_login(world: &World, binaries: &Binaries) -> FirstLogin {
    let event = event("login");
    let (mut firsts, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..FIRST_LOGINS {
        let lambda = world.another_lambda(binaries, "login", &[]);
        lambda.warm_up().await.expect("it starts");
        tokio::time::sleep(SETTLED).await;
        let process = lambda.idle_processes()[0];
        for at in 0..4 {
            let before = process::cpu_time(process);
            lambda.invoke(event.clone()).await.expect("an answer");
            let times = if at == 0 { &mut firsts } else { &mut warm };
            times.push(process::cpu_time(process) - before);
        }
        lambda.stop().await;
    }
    FirstLogin {
        first: median(firsts),
        warm: median(warm),
    }
}
