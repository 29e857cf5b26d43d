//! The claims of access tokens: the sign-in, and an application's own claims.

use std::collections::BTreeSet;

use harness::{World, token};
use serde_json::{Value, json};

/// The claims "plan" and "teams" as DynamoDB stores them.
fn stored() -> Value {
    let teams = json!({ "L": [{ "S": "one" }, { "N": "2" }] });
    json!({ "M": { "plan": { "S": "pro" }, "teams": teams } })
}

fn claims(access: &str) -> Value {
    token::parts(access).1
}

#[tokio::test]
async fn the_time_of_the_sign_in_survives_a_refresh() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let first = claims(&account.access);
    assert_eq!(first["auth_time"], first["iat"]);
    assert_eq!(first["amr"], json!(["pwd"]));

    world.age_session(&account.access, 60);
    let renewed = claims(&client.refresh(&account.refresh).await.text("accessToken"));

    let signed_in = first["auth_time"].as_i64().unwrap() - 3600;
    assert_eq!(renewed["auth_time"], signed_in);
    assert_eq!(renewed["amr"], json!(["pwd"]));
    let repeated = claims(&client.refresh(&account.refresh).await.text("accessToken"));
    assert_eq!(repeated["auth_time"], signed_in);
    assert_eq!(repeated["amr"], json!(["pwd"]));
}

#[tokio::test]
async fn a_token_says_whether_a_second_factor_was_used() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let (mut app, codes) = client.enrol(&account).await;
    let with_both = json!(["pwd", "otp", "mfa"]);
    for code in [app.next().await, codes[0].clone()] {
        let body =
            json!({ "email": account.email, "password": account.password, "twoFactorToken": code });
        let answer = client.post("/api/auth/login", body).await;
        let renewed = client.refresh(&answer.text("refreshToken")).await;

        for answer in [answer, renewed] {
            assert_eq!(claims(&answer.text("accessToken"))["amr"], with_both);
        }
    }
}

#[tokio::test]
async fn an_operators_claims_are_in_the_tokens_from_the_next_refresh_on() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    assert_eq!(claims(&account.access)["claims"], Value::Null);
    let dynamodb = world.dynamodb();

    dynamodb.set_user(&account.id, "claims", stored()).await;
    let renewed = client.refresh(&account.refresh).await;
    let (access, _) = client.login(&account).await;

    let expected = json!({ "plan": "pro", "teams": ["one", 2] });
    for access in [&renewed.text("accessToken"), &access] {
        assert_eq!(claims(access)["claims"], expected);
        assert_eq!(client.profile(access).await.status, 200);
    }
    // What users change themselves changes nothing about the claims.
    let changed = client
        .update_profile(&access, json!({ "name": "Ada" }))
        .await;
    assert_eq!(changed.status, 200);
    let (access, _) = client.login(&account).await;
    assert_eq!(claims(&access)["claims"], expected);

    dynamodb
        .set_user(&account.id, "claims", json!({ "M": {} }))
        .await;
    let renewed = client.refresh(&renewed.text("refreshToken")).await;
    assert_eq!(claims(&renewed.text("accessToken"))["claims"], Value::Null);
}

#[tokio::test]
async fn claims_beyond_the_limits_are_left_out_and_logged_and_lock_nobody_out() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let dynamodb = world.dynamodb();
    for invalid in [
        json!({ "M": { "a b": { "S": "x" } } }),
        json!({ "M": { "long": { "S": "x".repeat(1000) } } }),
        json!({ "M": { "binary": { "B": "AAAA" } } }),
        json!({ "S": "pro" }),
        json!({ "NULL": true }),
    ] {
        dynamodb
            .set_user(&account.id, "claims", invalid.clone())
            .await;

        let (access, refresh) = client.login(&account).await;
        let renewed = client.refresh(&refresh).await.text("accessToken");

        for access in [&access, &renewed] {
            assert_eq!(claims(access)["claims"], Value::Null, "{invalid}");
            assert_eq!(client.profile(access).await.status, 200);
        }
    }
    let log = world.log();
    let problem = "the claims in the user's record are invalid, and left out";
    let mut of_user = log.iter().filter(|line| line["message"] == problem);
    assert!(of_user.all(|line| line["user_id"] == account.id.as_str()));
    let logged = log.iter().filter(|line| line["message"] == problem);
    assert_eq!(logged.count(), 10);
}

#[tokio::test]
async fn the_namespace_is_configurable_and_takes_no_other_claims_place() {
    let namespace = "https://example.com/claims";
    let world = World::build().variable("JWT_CLAIMS_NAMESPACE", namespace);
    let Some(world) = world.start() else { return };
    let account = world.client().register().await;
    world
        .dynamodb()
        .set_user(&account.id, "claims", stored())
        .await;

    let (access, _) = world.client().login(&account).await;

    assert_eq!(claims(&access)[namespace]["plan"], "pro");
    assert_eq!(claims(&access)["claims"], Value::Null);
    for taken in ["role", "sub", "auth_time", "two words"] {
        let world = World::build().variable("JWT_CLAIMS_NAMESPACE", taken);
        let error = world.try_start().err().expect("an error at the start");
        assert!(error.contains("JWT_CLAIMS_NAMESPACE must be"), "{error}");
    }
}

/// security.md 43.
#[tokio::test]
async fn nobody_sets_claims_of_their_own() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    let claims = json!({ "plan": "pro" });

    let changed = client
        .update_profile(&account.access, json!({ "claims": claims }))
        .await;
    let body = json!({
        "email": harness::client::unique_email(), "password": account.password, "claims": claims,
    });
    let registered = client.post("/api/auth/register", body).await;

    for answer in [changed, registered] {
        assert_eq!(answer.fields(), BTreeSet::from(["claims"]), "{answer:?}");
    }
}
