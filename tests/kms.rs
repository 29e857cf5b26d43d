//! Access tokens that KMS signs (`SigningKeyStore=kms`).

use std::time::{Duration, Instant};

use harness::client::{unique_email, unique_password};
use harness::kms;
use harness::peers::Fault;
use harness::token::{self, is_signed_by};
use harness::{World, until};
use reqwest::Method;
use serde_json::{Value, json};

/// More faults than a function makes attempts.
fn outage(fault: fn(&'static str) -> Fault) -> Vec<Fault> {
    vec![fault("Sign"); 10]
}

fn unavailable(operation: &'static str) -> Fault {
    Fault {
        status: 503,
        ..Fault::refused(operation)
    }
}

#[tokio::test]
async fn kms_signs_the_tokens_of_every_sign_in_and_the_published_key_verifies_them() {
    let Some((world, kms)) = kms::world().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let (access, refresh) = client.login(&account).await;
    let renewed = client.refresh(&refresh).await.text("accessToken");

    let keys = client.request(Method::GET, "/.well-known/jwks.json");
    let keys: Value = keys.send().await.unwrap().json().await.unwrap();
    for access in [&account.access, &access, &renewed] {
        let (header, _) = token::parts(access);
        assert_eq!(header["alg"], "RS256");
        assert_eq!(header["kid"], keys["keys"][0]["kid"]);
        assert!(is_signed_by(access, &keys["keys"][0]));
        assert_eq!(client.profile(access).await.status, 200);
    }
    // On a busy machine an attempt may be repeated.
    let operations = kms.operations();
    assert!(operations.len() >= 3 && operations.iter().all(|operation| operation == "Sign"));
}

/// One throttled attempt costs nobody anything.
#[tokio::test]
async fn a_single_fault_of_kms_is_not_seen() {
    let Some((world, kms)) = kms::world().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    for fault in [Fault::throttled, unavailable] {
        kms.fail([fault("Sign")]);

        client.login(&account).await;

        assert_eq!(kms.faults_left(), 0);
    }
}

/// Nothing half-made is left: an account whose token was not signed does not exist, a session neither, and a refresh
/// token works again.
#[tokio::test]
async fn without_kms_nobody_signs_in_and_nothing_is_lost() {
    let Some((world, kms)) = kms::world().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let (_, refresh) = client.login(&account).await;
    let sessions = world.sessions().len();
    let registration = json!({ "email": unique_email(), "password": unique_password() });
    let login = json!({ "identifier": account.email, "password": account.password });

    for fault in [Fault::throttled, unavailable] {
        kms.fail(outage(fault));
        let answer = client
            .post("/api/auth/register", registration.clone())
            .await;
        assert_eq!(answer.code(), "service_unavailable");
        kms.fail(outage(fault));
        let answer = client.post("/api/auth/login", login.clone()).await;
        assert_eq!(answer.code(), "service_unavailable");
        kms.fail(outage(fault));
        let answer = client.refresh(&refresh).await;
        assert_eq!(answer.code(), "service_unavailable");
        kms.recover();
    }

    assert_eq!(world.sessions().len(), sessions);
    assert_eq!(client.post("/api/auth/login", login).await.status, 200);
    let answer = client.post("/api/auth/register", registration).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(client.refresh(&refresh).await.status, 200);
}

/// A missing right is no outage: nobody should try again.
#[tokio::test]
async fn a_key_that_may_not_be_used_is_an_error_of_the_operator() {
    let Some((world, kms)) = kms::world().await else {
        return;
    };
    kms.fail(outage(Fault::refused));
    let registration = json!({ "email": unique_email(), "password": unique_password() });

    let answer = world
        .client()
        .post("/api/auth/register", registration)
        .await;

    assert_eq!(answer.code(), "internal_error");
    let log = world.log_lines();
    assert!(
        log.iter().any(|line| line.contains("AccessDenied")),
        "{log:#?}"
    );
}

/// Without KMS for longer than the grace, a client that tries again does not look like one with a stolen token.
#[tokio::test]
async fn a_refresh_that_kms_did_not_sign_is_taken_back() {
    let (world, kms) = kms::signing(World::build().variable("REFRESH_GRACE", "1s")).await;
    let Some(world) = world.start() else { return };
    let client = world.client();
    let account = client.register().await;
    kms.fail(outage(unavailable));
    let started = Instant::now();
    let answer = client.refresh(&account.refresh).await;
    assert_eq!(answer.code(), "service_unavailable");
    kms.recover();
    until("the grace is over", async || {
        started.elapsed() > Duration::from_secs(2)
    })
    .await;

    let answer = client.refresh(&account.refresh).await;

    assert_eq!(answer.status, 200, "{answer:?}");
}
