//! Measures whether stored data slows requests down: the same requests with a thousand and with a million stored users,
//! in turn.

use std::time::Duration;

use harness::{Account, World};
use local::build::Binaries;
use serde_json::{Value, json};
use shared::clock;
use shared::domain::id::Id;
use shared::domain::user::User;
use shared::random;

use crate::endpoints::{Caller, Kind, Systems, sequentially};
use crate::median;

/// The numbers of stored users and sessions.
const SIZES: [(usize, usize); 2] = [(1_000, 1_000), (1_000_000, 100_000)];
/// The number of users who make requests, spread over the table.
const CALLERS: usize = 100;
const ROUNDS: usize = 5;
const ENDPOINTS: [Kind; 2] = [
    Kind::new("profile", "profile", 400),
    Kind::new("refresh", "refresh", 400),
];

/// The measurements with this many users.
pub struct Growth {
    pub users: usize,
    pub sessions: usize,
    /// The median latency of each endpoint.
    pub latencies: Vec<(&'static str, Duration)>,
}

pub async fn measure(binaries: &Binaries) -> Vec<Growth> {
    let mut worlds = Vec::new();
    for (users, sessions) in SIZES {
        let world = World::build().binaries(binaries.clone()).start();
        let world = world.expect("a system of its own");
        let callers = fill(&world, users, sessions).await;
        worlds.push((Systems { world, node: None }, callers));
    }
    let mut latencies = vec![vec![Vec::new(); ENDPOINTS.len()]; worlds.len()];
    for _ in 0..ROUNDS {
        for ((world, callers), latencies) in worlds.iter_mut().zip(&mut latencies) {
            for (kind, latencies) in ENDPOINTS.iter().zip(latencies) {
                let samples = sequentially(world, kind, callers, kind.count).await;
                latencies.extend(samples.latencies);
            }
        }
    }
    let growth = |((users, sessions), latencies): ((usize, usize), Vec<Vec<Duration>>)| Growth {
        users,
        sessions,
        latencies: std::iter::zip(
            ENDPOINTS.map(|kind| kind.name),
            latencies.into_iter().map(median),
        )
        .collect(),
    };
    SIZES.into_iter().zip(latencies).map(growth).collect()
}

/// Stores copies of one account under new names, with sessions for some of them. Returns the clients that make the
/// measured requests.
async fn fill(world: &World, users: usize, sessions: usize) -> Vec<Caller> {
    let original = world.client().register().await;
    let dynamodb = world.dynamodb();
    let partition = format!("USER#{}", original.id);
    let user = dynamodb.user(&original.id).await;
    let password = dynamodb
        .get(&dynamodb.credentials, &partition, "PASSWORD")
        .await;
    let mut redis = world.redis();
    let session = world.sessions().into_values().next().expect("a session");

    let mut accounts = Vec::new();
    for chunk in (0..users).collect::<Vec<_>>().chunks(10_000) {
        let (mut users_items, mut credentials) = (Vec::new(), Vec::new());
        let mut pipeline = redis::pipe();
        for &number in chunk {
            let id = Id::<User>::new(clock::now(), random::bytes()).to_string();
            let (email, username) = (format!("u{number}@example.com"), format!("u{number}"));
            let partition = json!({ "S": format!("USER#{id}") });
            let mut copy = user.clone();
            copy["pk"] = partition.clone();
            for (name, value) in [("id", &id), ("email", &email), ("username", &username)] {
                copy[name]["S"] = json!(value);
            }
            users_items.extend([
                copy,
                claim(&format!("EMAIL#{email}"), &id),
                claim(&format!("USERNAME#{username}"), &id),
            ]);
            let mut copy = password.clone();
            copy["pk"] = partition;
            credentials.push(copy);
            if number < sessions {
                start_session(&mut pipeline, &id, &session);
            }
            if number % (users / CALLERS) == 0 {
                let original = original.clone();
                accounts.push(Account {
                    id,
                    email,
                    username,
                    ..original
                });
            }
        }
        let import = |table: &str, items| world.local().import(table, items).expect("an import");
        import(&dynamodb.users, users_items);
        import(&dynamodb.credentials, credentials);
        if !pipeline.is_empty() {
            let () = pipeline.query(&mut redis).expect("sessions");
        }
    }
    let mut callers = Vec::new();
    for account in accounts {
        let client = world.client();
        let (access, refresh) = client.login(&account).await;
        callers.push(Caller::new(
            client,
            Account {
                access,
                refresh,
                ..account
            },
        ));
    }
    callers
}

fn claim(pk: &str, user_id: &str) -> Value {
    json!({ "pk": { "S": pk }, "sk": { "S": "CLAIM" }, "user_id": { "S": user_id } })
}

/// Adds a session with the same record as another one.
fn start_session(pipeline: &mut redis::Pipeline, user_id: &str, record: &Value) {
    let id = Id::<User>::new(clock::now(), random::bytes()).to_string();
    let key = format!("sessions:{{{user_id}}}");
    pipeline.hset(&key, id, record.to_string()).ignore();
    pipeline.expire(&key, 604_800).ignore();
}
