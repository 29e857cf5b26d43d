//! `POST /api/auth/introspect` (RFC 7662).

use harness::peers::Mode;
use harness::service::{self, ONE, TWO};
use harness::token::{self, KeyPair};
use harness::{Client, World};
use reqwest::Method;
use serde_json::{Value, json};

const PATH: &str = "/api/auth/introspect";

async fn introspect(client: &Client, token: &str) -> Value {
    let answer = service::ask(client, PATH, ONE, token).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

#[tokio::test]
async fn a_valid_token_is_active_and_says_what_it_says() {
    let Some(world) = service::world().start() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let claims = json!({ "M": { "plan": { "S": "pro" } } });
    world
        .dynamodb()
        .set_user(&account.id, "claims", claims)
        .await;
    let (access, _) = client.login(&account).await;

    let answer = introspect(&client, &access).await;

    let (_, mut expected) = token::parts(&access);
    expected["active"] = json!(true);
    expected["token_type"] = json!("Bearer");
    expected["username"] = json!(account.username);
    assert_eq!(answer, expected);
    assert_eq!(answer["claims"]["plan"], "pro");
    // The record decides about the role, not the token.
    let admin = json!({ "S": "admin" });
    world.dynamodb().set_user(&account.id, "role", admin).await;
    assert_eq!(introspect(&client, &access).await["role"], "admin");
}

/// security.md 45.
#[tokio::test]
async fn any_other_token_is_inactive_and_nothing_is_said_about_it() {
    let Some(world) = service::world().start() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let (header, claims) = token::parts(&account.access);
    let (over, _) = client.login(&account).await;
    assert_eq!(client.logout(&over).await.status, 200);

    for token in [
        "x",
        "a.b.c",
        &account.refresh,
        &over,
        &KeyPair::generate().forge(&header, &claims),
        &format!("{}x", account.access),
    ] {
        let answer = introspect(&client, token).await;
        assert_eq!(answer, json!({ "active": false }), "{token}");
    }
    assert_eq!(introspect(&client, &account.access).await["active"], true);
}

/// security.md 45.
#[tokio::test]
async fn nobody_asks_without_the_secret_of_a_service() {
    let Some(world) = service::world().start() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;

    service::is_for_services_alone(&client, PATH, &account.access).await;

    for secret in [TWO, "two:the-second-secret-of-the-second-service"] {
        let answer = service::ask(&client, PATH, secret, &account.access).await;
        assert_eq!(
            answer.body["active"], true,
            "both secrets of a service work"
        );
    }
    // Without any service, nobody asks at all.
    let world = World::start();
    let answer = service::ask(&world.client(), PATH, ONE, &account.access).await;
    assert_eq!(answer.code(), "invalid_client");
}

#[tokio::test]
async fn a_request_without_exactly_one_token_in_a_form_is_invalid() {
    let Some(world) = service::world().start() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;

    service::needs_a_form_with_one_token(&client, PATH, &account.access).await;
}

/// A service must not take an outage for a logout.
#[tokio::test]
async fn without_a_store_the_answer_is_503_and_not_inactive() {
    let Some((world, proxy)) = service::world().behind_dynamodb_proxy().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    proxy.set(Mode::Gone);

    let answer = service::ask(&client, PATH, ONE, &account.access).await;

    assert_eq!(answer.code(), "service_unavailable");
}

#[test]
fn what_is_no_list_of_services_keeps_it_from_starting() {
    for list in ["reports", "reports:secret", "re ports:", "a:b;c:d"] {
        let world = World::build().variable("SERVICE_CLIENTS", list);
        if !harness::world::is_inside() {
            return;
        }
        let error = world.try_start().err().expect("an error at the start");
        assert!(error.contains("SERVICE_CLIENTS must be"), "{error}");
        assert!(!error.contains(list), "{error}");
    }
}

/// `infra/service-client` makes what the functions take.
#[tokio::test]
async fn the_printed_entry_belongs_to_the_printed_secret() {
    let tool = local::build::workspace().join("infra/service-client");
    let output = std::process::Command::new(tool).arg("reports").output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let value = |label: &str| {
        let line = text.lines().find(|line| line.starts_with(label)).unwrap();
        line.split_once(": ").unwrap().1.to_owned()
    };
    let world = World::build().variable("SERVICE_CLIENTS", &value("entry"));
    let Some(world) = world.start() else { return };
    let client = world.client();
    let account = client.register().await;

    let credentials = format!("reports:{}", value("secret"));
    let answer = service::ask(&client, PATH, &credentials, &account.access).await;

    assert_eq!(answer.body["active"], true);
    let request = client.request(Method::GET, PATH);
    assert_eq!(client.send(request).await.status, 405);
}
