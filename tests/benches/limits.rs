//! Measures what a refused request costs: the CPU time of a rate-limited login relative to one that hashes, in the
//! function's own process. `cargo bench --bench limits` prints it.

use std::time::Duration;

use harness::client::unique_email;
use harness::{Client, World, process};
use serde_json::json;

const HASHING: u32 = 30;
const LIMITED: u32 = 600;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(measure());
}

async fn measure() {
    let world = World::build()
        .production_hashes()
        .variable("LOGIN_LOCKOUT", "off")
        .variable("RATE_LIMIT_LOGIN", &format!("{}/15m", HASHING + 1));
    let Some(world) = world.start() else {
        return;
    };
    let client = world.client();
    login(&client).await; // opens the connections
    let [hashing, limited] = [
        per_login(&world, &client, HASHING).await,
        per_login(&world, &client, LIMITED).await,
    ];
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "CPU of a login: hashing {:.2} ms, limited {:.3} ms, ratio {:.4}",
        milliseconds(hashing),
        milliseconds(limited),
        limited.as_secs_f64() / hashing.as_secs_f64()
    );
}

async fn login(client: &Client) -> u16 {
    let body = json!({ "email": unique_email(), "password": "Wrong-7-horse" });
    client.post("/api/auth/login", body).await.status.as_u16()
}

async fn per_login(world: &World, client: &Client, count: u32) -> Duration {
    let before = cpu_time(world);
    for _ in 0..count {
        login(client).await;
    }
    (cpu_time(world) - before) / count
}

/// Returns the CPU time that the login function's process has used so far.
fn cpu_time(world: &World) -> Duration {
    let [process] = world.local().idle_processes("login")[..] else {
        panic!("expected exactly one process of the login function");
    };
    process::cpu_time(process)
}
