//! SES events mark addresses as undeliverable.

use harness::peers::Fault;
use harness::{Account, World, until};
use serde_json::{Value, json};

const EVENT: &str = include_str!("../events/mail-events.json");

/// Returns the sample event with another address.
fn event(address: &str) -> Value {
    serde_json::from_str(&EVENT.replace("ada@example.com", address)).unwrap()
}

/// Returns the sample event with another message.
fn event_of(message: &Value) -> Value {
    let mut event = event("ada@example.com");
    event["Records"][0]["Sns"]["Message"] = message.to_string().into();
    event
}

async fn hand_over(world: &World, event: &Value) {
    let event = event.to_string().into_bytes();
    let answer = world.local().invoke("mail-events", event).await;
    assert_eq!(answer.unwrap(), b"null");
}

async fn mark(world: &World, email: &str) -> Value {
    let claims = world
        .dynamodb()
        .items(&format!("EMAIL#{}", email.to_lowercase()))
        .await;
    claims[0]["undeliverable"]["S"].clone()
}

/// The mail of a reset requested afterwards is in the outbox, but is not sent.
#[tokio::test]
async fn an_address_that_bounced_gets_no_further_mail() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    world.mail(&account.email, "Verify").await;

    hand_over(&world, &event(&account.email.to_uppercase())).await;
    let body = json!({ "email": account.email });
    let answer = client.post("/api/auth/password-reset/request", body).await;

    assert_eq!(answer.status, 200);
    assert_eq!(mark(&world, &account.email).await, "bounce");
    let entry = async || {
        let mut outbox = world.dynamodb().items("OUTBOX#").await;
        outbox.retain(|entry| entry["kind"]["S"] == "reset_password");
        outbox.pop()
    };
    until("it is given up", async || {
        entry()
            .await
            .is_some_and(|entry| !entry["given_up"].is_null())
    })
    .await;
    assert_eq!(entry().await.unwrap()["given_up"]["S"], "Undeliverable");
    assert_eq!(world.local().mails().len(), 1);
    assert!(world.local().dead_letters().is_empty());
}

fn complaint(email: &str, kind: Option<&str>) -> Value {
    let recipients = json!([{ "emailAddress": email }]);
    let complaint = json!({ "complainedRecipients": recipients, "complaintFeedbackType": kind });
    event_of(&json!({ "eventType": "Complaint", "complaint": complaint }))
}

async fn register_proven(world: &World) -> Account {
    let client = world.client();
    let account = client.register().await;
    let token = world.mailed_token("verify_email", &account.email).await;
    client.verify_email(&account, &token).await;
    account
}

#[tokio::test]
async fn who_complained_gets_no_further_mail_either() {
    let Some(world) = World::inside() else { return };
    for kind in [None, Some("abuse"), Some("fraud"), Some("other")] {
        let account = register_proven(&world).await;

        hand_over(&world, &complaint(&account.email, kind)).await;

        assert_eq!(mark(&world, &account.email).await, "complaint", "{kind:?}");
    }
}

/// bugs 4.
#[tokio::test]
async fn a_report_that_is_no_complaint_marks_nobody_and_removes_nobody() {
    let Some(world) = World::inside() else { return };
    for kind in ["not-spam", "auth-failure"] {
        let proven = register_proven(&world).await;
        let unproven = world.client().register().await;

        for account in [&proven, &unproven] {
            hand_over(&world, &complaint(&account.email, Some(kind))).await;
            assert_eq!(mark(&world, &account.email).await, Value::Null, "{kind}");
        }

        world.client().login(&unproven).await;
    }
}

/// security L6: people press "spam" rather than "this wasn't me".
#[tokio::test]
async fn a_complaint_about_an_account_that_nobody_has_proven_removes_it() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    client.enrol(&account).await;

    for _ in 0..2 {
        hand_over(&world, &complaint(&account.email, Some("abuse"))).await;
    }

    assert_eq!(
        client.profile(&account.access).await.code(),
        "token_revoked"
    );
    let body = json!({ "email": account.email, "username": account.username, "password": account.password });
    let anew = client.post("/api/auth/register", body).await;
    assert_eq!(anew.status, 201, "{anew:?}");
    world.mail(&account.email, "Verify").await;
    assert_eq!(mark(&world, &account.email).await, Value::Null);
}

#[tokio::test]
async fn an_event_that_says_nothing_about_an_address_marks_none() {
    let Some(world) = World::inside() else { return };
    let account = world.client().register().await;
    let recipients = json!([{ "emailAddress": account.email }]);
    let full_mailbox = json!({ "eventType": "Bounce", "bounce": { "bounceType": "Transient", "bouncedRecipients": recipients } });

    hand_over(&world, &event_of(&full_mailbox)).await;
    hand_over(&world, &event_of(&json!({ "eventType": "Delivery" }))).await;
    hand_over(&world, &event_of(&json!("no event of SES"))).await;
    hand_over(&world, &event("nobody@example.com")).await;
    hand_over(&world, &event("not an address")).await;

    assert_eq!(mark(&world, &account.email).await, Value::Null);
    let strangers = world.dynamodb().items("EMAIL#nobody").await;
    assert!(
        strangers.is_empty(),
        "a mark has made a claim: {strangers:?}"
    );
}

/// Lambda retries a failed invocation.
#[tokio::test]
async fn a_mark_that_cannot_be_written_fails_the_invocation() {
    let Some((world, faulty)) = World::build().behind_faulty_dynamodb().await else {
        return;
    };
    let account = world.client().register().await;
    // The mailer writes as well: wait until it has finished.
    world.mail(&account.email, "Verify").await;
    until("it is noted", async || {
        let outbox = world.dynamodb().items("OUTBOX#").await;
        !outbox[0]["sent_at"].is_null()
    })
    .await;
    faulty.fail([Fault::refused("UpdateItem")]);
    let bounced = event(&account.email);

    let first = world
        .local()
        .invoke("mail-events", bounced.to_string().into_bytes())
        .await;
    hand_over(&world, &bounced).await;

    assert!(first.is_err(), "{first:?}");
    assert_eq!(mark(&world, &account.email).await, "bounce");
}
