//! `POST /api/auth/password-reset/request`.

use harness::client::unique_email;
use harness::{Client, World};
use serde_json::{Value, json};

const PATH: &str = "/api/auth/password-reset/request";

async fn answer(client: &Client, email: &str) -> (u16, Value, Vec<(String, String)>) {
    let answer = client.request_reset(email).await;
    let headers = answer.headers.iter();
    let headers = headers.filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
    let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap().to_owned();
    let headers = headers.map(|(name, value)| (name.to_string(), text(value)));
    (
        answer.status.as_u16(),
        answer.body_without_request_token(),
        headers.collect(),
    )
}

/// security.md 7.
#[tokio::test]
async fn every_address_gets_the_same_answer_and_only_the_outbox_differs() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let (account, disabled, deleted) = (
        client.register().await,
        client.register().await,
        client.register().await,
    );
    let status = json!({ "S": "disabled" });
    world
        .dynamodb()
        .set_user(&disabled.id, "status", status)
        .await;
    let body = json!({ "password": deleted.password });
    client
        .delete_as(&deleted.access, "/api/auth/profile", body)
        .await;
    let unknown = unique_email();

    let known = answer(&client, &account.email).await;

    assert_eq!(known.0, 200);
    for email in [&unknown, &disabled.email, &deleted.email] {
        assert_eq!(answer(&client, email).await, known, "{email}");
        assert_eq!(world.mails("reset_password", email).await, 0, "{email}");
    }
    assert_eq!(world.mails("reset_password", &account.email).await, 1);
    let keys = world.redis_keys("password_reset:*");
    assert_eq!(
        keys.len(),
        1,
        "only the known address has a token: {keys:?}"
    );
}

/// security.md 7, except for the time, which a benchmark measures.
#[tokio::test]
async fn the_stores_are_asked_alike_whether_the_account_exists_or_not() {
    let Some((world, faulty)) = World::build().behind_faulty_dynamodb().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let work = async |email: &str| {
        let asked = faulty.operations().len();
        answer(&client, email).await;
        faulty.operations().split_off(asked)
    };

    let known = work(&account.email).await;

    assert_eq!(known, ["GetItem", "GetItem", "TransactWriteItems"]);
    assert_eq!(work(&unique_email()).await, known);
}

#[tokio::test]
async fn the_address_is_found_in_every_spelling_and_by_every_alias() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    for path in [PATH, "/forgot-password", "/api/auth/forgot-password"] {
        let email = account.email.to_uppercase();

        assert_eq!(
            client.post(path, json!({ "email": email })).await.status,
            200
        );
    }
    assert_eq!(world.mails("reset_password", &account.email).await, 3);
}

/// A dump of both stores contains no mailed token; security.md 27.
#[tokio::test]
async fn no_store_holds_the_token() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    client.request_reset(&account.email).await;
    let token = world.mailed_token("reset_password", &account.email).await;
    let dynamodb = world.dynamodb();
    let mut dump = format!("{:?}", dynamodb.scan(&dynamodb.users).await);
    dump.push_str(&format!("{:?}", dynamodb.scan(&dynamodb.credentials).await));
    let mut redis = world.redis();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut redis).unwrap();
    for key in keys.iter().filter(|key| key.starts_with("password_reset:")) {
        let value: String = redis::cmd("GET").arg(key).query(&mut redis).unwrap();
        let ttl: i64 = redis::cmd("TTL").arg(key).query(&mut redis).unwrap();
        assert!((3500..=3600).contains(&ttl), "an hour: {ttl}");
        dump.push_str(&format!("{key} {value}"));
    }

    assert_eq!(token.len(), 64, "256 bits");
    assert!(dump.contains("password_reset:") && !dump.contains(&token));
}

/// security.md 28: the link is built from stored data, and from nothing in the request.
#[tokio::test]
async fn a_forged_host_is_stored_nowhere() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    // As an event, because `cargo local` answers only to its own names.
    let event = include_str!("../events/reset-request.json");
    let event = event.replace("ada@example.com", &account.email);
    let event = event.replace(
        "abcdefghij.execute-api.us-east-1.amazonaws.com",
        "evil.example",
    );
    let mut event: Value = serde_json::from_str(&event).unwrap();
    event["headers"]["x-forwarded-host"] = json!("evil.example");
    assert_eq!(event["headers"]["host"], "evil.example");

    let answer = world
        .local()
        .invoke("reset-request", event.to_string().into())
        .await;

    let answer: Value = serde_json::from_slice(&answer.unwrap()).unwrap();
    assert_eq!(answer["statusCode"], 200, "{answer}");
    let outbox = format!("{:?}", world.dynamodb().items("OUTBOX#").await);
    assert!(!outbox.contains("evil"), "{outbox}");
    assert_eq!(world.mails("reset_password", &account.email).await, 1);
}

#[tokio::test]
async fn the_mail_is_in_the_language_of_the_request() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let request = client.request(reqwest::Method::POST, PATH);
    let request = request.header("accept-language", "de-AT,de;q=0.9,en;q=0.8");

    client
        .send(request.json(&json!({ "email": account.email })))
        .await;

    let mails = world.dynamodb().items("OUTBOX#").await;
    let mail = mails
        .iter()
        .find(|mail| mail["kind"]["S"] == "reset_password");
    assert_eq!(mail.unwrap()["language"]["S"], "de");
}

#[tokio::test]
async fn an_address_is_required() {
    let world = World::start();
    let client = world.client();
    for body in [json!({}), json!({ "email": "nobody" })] {
        let answer = client.post(PATH, body).await;

        assert!(answer.names(&["email"]), "{answer:?}");
    }
}
