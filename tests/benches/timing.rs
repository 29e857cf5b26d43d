//! Measures whether response times reveal who has an account: requests for a known and an unknown account in turn, and
//! the ratio of their medians. `cargo bench --bench timing` prints it. It is not a test, because no machine is quiet
//! enough for one.

use std::time::{Duration, Instant};

use harness::client::unique_email;
use harness::{Client, World};
use serde_json::{Value, json};

const SAMPLES: usize = 200;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(measure());
}

async fn measure() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    println!("median time to the answer, {SAMPLES} samples each");
    let reset = |email: &str| json!({ "email": email });
    compare(
        &client,
        "/api/auth/password-reset/request",
        &account.email,
        reset,
    )
    .await;
    compare(
        &client,
        "/api/auth/verify-email/resend",
        &account.email,
        reset,
    )
    .await;
    // A login is measured at production's hash cost, because the hash hides other differences.
    drop(world);
    let Some(world) = World::build()
        .production_hashes()
        .variable("LOGIN_LOCKOUT", "off")
        .start()
    else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let login = |email: &str| json!({ "email": email, "password": "Wrong-7-horse" });
    compare(&client, "/api/auth/login", &account.email, login).await;
}

async fn compare(client: &Client, path: &str, known: &str, body: impl Fn(&str) -> Value) {
    let mut times: [Vec<Duration>; 2] = Default::default();
    for sample in 0..SAMPLES + 10 {
        let unknown = unique_email();
        let mut turns = [(known, 0), (unknown.as_str(), 1)];
        turns.rotate_left(sample % 2); // neither always comes second
        for (email, which) in turns {
            let started = Instant::now();
            client.post(path, body(email)).await;
            times[which].push(started.elapsed());
        }
    }
    let [known, unknown] = times.map(|mut times| {
        let mut times = times.split_off(10); // the first ones start processes and connections
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1000.0
    });
    let ratio = known / unknown;
    println!("{path:36} known {known:6.2} ms, unknown {unknown:6.2} ms, ratio {ratio:.3}");
}
