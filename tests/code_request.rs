//! `POST /api/auth/code/request`.

use harness::client::unique_email;
use harness::{World, code};
use serde_json::json;

/// security.md 52: the answer does not say whether there is an account.
#[tokio::test]
async fn every_address_gets_the_same_answer() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let disabled = client.register().await;
    let status = json!({ "S": "disabled" });
    world
        .dynamodb()
        .set_user(&disabled.id, "status", status)
        .await;
    let codes = || world.redis_keys("mailed_code:*").len();
    let before = codes(); // of the registrations
    let mut shapes = Vec::new();
    for email in [&account.email, &disabled.email, &unique_email()] {
        let body = json!({ "email": email });
        let answer = client.post("/api/auth/code/request", body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.text("requestToken").len(), 64);
        let fields: Vec<String> = answer.fields().into_iter().map(str::to_owned).collect();
        shapes.push((fields, answer.text("message"), answer["expiresIn"].clone()));
        let sent = usize::from(*email == account.email);
        assert_eq!(world.mails("sign_in_code", email).await, sent, "{email}");
    }
    assert_eq!(shapes[0], shapes[1]);
    assert_eq!(shapes[0], shapes[2]);
    assert_eq!(shapes[0].2, 600);
    assert_eq!(codes(), before + 1);
}

#[tokio::test]
async fn the_mail_has_the_code_and_a_link_to_the_same() {
    let Some(world) = World::with_mail() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;

    let (_, digits) = code::ask(&world, &client, &account.email).await;

    let mail = world.mail(&account.email, "Your code").await;
    let link = format!("/sign-in#code={digits}");
    assert!(mail.text.contains(&link), "{}", mail.text);
    assert!(mail.html.contains(&link), "{}", mail.html);
    assert!(
        !mail.subject.contains(&digits),
        "it is seen on a locked phone"
    );
    assert!(mail.text.contains(" UTC, from "), "{}", mail.text);
}

/// security.md 52: one address gets no flood, whoever asks.
#[tokio::test]
async fn requests_are_limited_by_client_and_by_address() {
    let limit = World::build().variable("RATE_LIMIT_CODE_REQUEST", "2/1h");
    let Some(world) = limit.start() else { return };
    let email = unique_email();
    let ask = async |email: &str| {
        let body = json!({ "email": email });
        let answer = world.client().post("/api/auth/code/request", body).await;
        answer.status.as_u16()
    };
    assert_eq!((ask(&email).await, ask(&email).await), (200, 200));
    assert_eq!(ask(&email.to_uppercase()).await, 429, "from a third client");
    assert_eq!(ask(&unique_email()).await, 200, "another address");
}

#[tokio::test]
async fn a_body_without_a_valid_address_is_refused() {
    let world = World::start();
    let client = world.client();
    for body in [json!({}), json!({ "email": "ada" }), json!({ "email": 1 })] {
        let answer = client.post("/api/auth/code/request", body).await;
        assert!(answer.names(&["email"]), "{answer:?}");
    }
}
