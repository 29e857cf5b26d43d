//! `POST /api/auth/verify-email/resend`.

use harness::World;
use harness::client::unique_email;
use serde_json::json;

const PATH: &str = "/api/auth/verify-email/resend";

/// security.md 27.
#[tokio::test]
async fn a_newer_mail_voids_the_older_one() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let first = world.mailed_token("verify_email", &account.email).await;

    let answer = client
        .resend_verification(&account.email.to_uppercase())
        .await;
    let second = world.mailed_token("verify_email", &account.email).await;

    assert_eq!(answer.status, 200);
    assert_ne!(first, second);
    let old = client
        .post("/api/auth/verify-email", json!({ "token": first }))
        .await;
    assert_eq!(old.code(), "invalid_verification_token");
    client.verify_email(&account, &second).await;
}

#[tokio::test]
async fn every_address_gets_the_same_answer_and_only_who_needs_it_a_mail() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let (open, verified) = (client.register().await, client.register().await);
    let token = world.mailed_token("verify_email", &verified.email).await;
    client.verify_email(&verified, &token).await;
    let unknown = unique_email();
    let mut answers = Vec::new();
    for email in [&open.email, &verified.email, &unknown] {
        answers.push(
            client
                .resend_verification(email)
                .await
                .body_without_request_token(),
        );
    }

    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
    assert_eq!(world.mails("verify_email", &open.email).await, 2);
    assert_eq!(
        world.mails("verify_email", &verified.email).await,
        1,
        "only the registration's mail"
    );
    assert_eq!(world.mails("verify_email", &unknown).await, 0);
}

#[tokio::test]
async fn the_store_is_asked_alike_whether_the_account_exists_or_not() {
    let Some((world, faulty)) = World::build().behind_faulty_dynamodb().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let work = async |email: &str| {
        let asked = faulty.operations().len();
        client.resend_verification(email).await;
        faulty.operations().split_off(asked)
    };

    let known = work(&account.email).await;

    assert_eq!(known, ["GetItem", "GetItem", "TransactWriteItems"]);
    assert_eq!(work(&unique_email()).await, known);
}

#[tokio::test]
async fn an_address_is_required() {
    let world = World::start();

    assert!(world.client().post(PATH, json!({})).await.names(&["email"]));
}
