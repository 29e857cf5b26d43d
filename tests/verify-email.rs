//! `POST /api/auth/verify-email`.

use harness::client::{unique_email, unique_password, unique_username};
use harness::{Answer, Client, World};
use serde_json::json;

const PATH: &str = "/api/auth/verify-email";

async fn verify(client: &Client, token: &str) -> Answer {
    client.post(PATH, json!({ "token": token })).await
}

#[tokio::test]
async fn the_mailed_token_proves_the_address_once() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let token = world.mailed_token("verify_email", &account.email).await;

    let answer = verify(&client, &token).await;
    let again = verify(&client, &token).await;

    assert_eq!(answer.status, 200);
    assert_eq!(
        (again.status.as_u16(), again.code()),
        (400, "invalid_verification_token")
    );
    let profile = client.profile(&account.access).await;
    assert_eq!(profile["user"]["emailVerified"], true);
    let audit = world.dynamodb().audit(&account.id).await;
    let entry = ("email_verification".to_owned(), "success".to_owned());
    assert_eq!(audit.last(), Some(&entry));
}

/// security.md 27.
#[tokio::test]
async fn of_fifty_tries_at_once_exactly_one_succeeds() {
    let Some(world) = World::inside() else {
        return;
    };
    let account = world.client().register().await;
    let token = world.mailed_token("verify_email", &account.email).await;
    let tries: Vec<_> = (0..50)
        .map(|_| {
            let (client, token) = (world.client(), token.clone());
            tokio::spawn(async move { verify(&client, &token).await })
        })
        .collect();
    let mut successes = 0;
    for attempt in tries {
        let answer = attempt.await.unwrap();
        match answer.status.as_u16() {
            200 => successes += 1,
            _ => assert_eq!(answer.code(), "invalid_verification_token"),
        }
    }

    assert_eq!(successes, 1);
}

#[tokio::test]
async fn where_it_is_required_nobody_signs_in_before_the_address_is_proven() {
    let world = World::build().variable("REQUIRE_VERIFIED_EMAIL", "true");
    let Some(world) = world.start() else {
        return;
    };
    let client = world.client();
    let (email, password) = (unique_email(), unique_password());
    let body = json!({ "email": email, "password": password });
    let login = json!({ "email": email, "password": password });
    let wrong = json!({ "email": email, "password": "Wrong-7-horse" });

    let registered = client.post("/api/auth/register", body).await;
    let refused = client.post("/api/auth/login", login.clone()).await;
    let wrong = client.post("/api/auth/login", wrong).await;
    let token = world.mailed_token("verify_email", &email).await;
    let verified = verify(&client, &token).await;
    let signed_in = client.post("/api/auth/login", login).await;

    assert_eq!(registered.status, 201);
    for token in ["accessToken", "refreshToken"] {
        assert!(registered.body.get(token).is_none(), "{registered:?}");
    }
    assert_eq!(registered["user"]["emailVerified"], false);
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (403, "email_not_verified")
    );
    assert_eq!(
        wrong.code(),
        "invalid_credentials",
        "said only after the right password"
    );
    assert_eq!(
        (verified.status.as_u16(), signed_in.status.as_u16()),
        (200, 200)
    );
}

/// security.md 8.
#[tokio::test]
async fn whoever_did_not_make_the_account_removes_it_and_its_names_are_free() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let token = world.mailed_token("verify_email", &account.email).await;

    let answer = client
        .post(PATH, json!({ "token": token, "reject": true }))
        .await;

    assert_eq!(answer.status, 200);
    assert_eq!(
        client.profile(&account.access).await.code(),
        "token_revoked"
    );
    let refreshed = client.refresh(&account.refresh).await;
    assert_eq!(refreshed.code(), "refresh_token_invalid");
    let login = json!({ "email": account.email, "password": account.password });
    let login = client.post("/api/auth/login", login).await;
    assert_eq!(login.code(), "invalid_credentials");
    let dynamodb = world.dynamodb();
    assert!(dynamodb.scan(&dynamodb.credentials).await.is_empty());
    assert!(dynamodb.user(&account.id).await.is_null());
    let body = json!({ "email": account.email, "username": account.username, "password": unique_password() });
    assert_eq!(client.post("/api/auth/register", body).await.status, 201);
}

#[tokio::test]
async fn a_verified_account_cannot_be_rejected_any_more() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let token = world.mailed_token("verify_email", &account.email).await;
    verify(&client, &token).await;

    let answer = client
        .post(PATH, json!({ "token": token, "reject": true }))
        .await;

    assert_eq!(answer.code(), "invalid_verification_token");
    client.login(&account).await;
}

/// The record, and with it the claims, can change between reading and removing.
#[tokio::test]
async fn a_rejection_racing_a_rename_leaves_no_claim_behind() {
    let Some(world) = World::inside() else {
        return;
    };
    for _ in 0..10 {
        let client = world.client();
        let account = client.register().await;
        let token = world.mailed_token("verify_email", &account.email).await;
        let rename = json!({ "username": unique_username() });

        let (rejected, _) = tokio::join!(
            client.post(PATH, json!({ "token": token, "reject": true })),
            client.put_as(&account.access, "/api/auth/profile", rename),
        );

        if rejected.status != 200 {
            let again = json!({ "token": token, "reject": true });
            assert_eq!(
                client.post(PATH, again).await.status,
                200,
                "nothing was lost"
            );
        }
    }
    let claims = world.dynamodb().items("USERNAME#").await;
    assert!(claims.is_empty(), "{claims:?}");
}

/// security.md 26: whatever opens a link asks by GET or HEAD.
#[tokio::test]
async fn get_and_head_change_nothing() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let token = world.mailed_token("verify_email", &account.email).await;
    for method in [reqwest::Method::GET, reqwest::Method::HEAD] {
        let path = format!("{PATH}?token={token}");
        let response = client.request(method, &path).send().await.unwrap();

        assert_eq!(response.status(), reqwest::StatusCode::METHOD_NOT_ALLOWED);
    }

    assert_eq!(verify(&client, &token).await.status, 200);
}

#[tokio::test]
async fn an_expired_token_is_not_valid_although_it_is_not_swept_yet() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let token = world.mailed_token("verify_email", &account.email).await;
    let dynamodb = world.dynamodb();
    let item = &dynamodb.items("VERIFY#").await[0];
    let pk = item["pk"]["S"].as_str().unwrap();
    let past = json!({ "S": "2020-01-01T00:00:00.000Z" });
    dynamodb
        .set(&dynamodb.users, pk, "TOKEN", "expires_at", past)
        .await;

    assert_eq!(
        verify(&client, &token).await.code(),
        "invalid_verification_token"
    );
}

#[tokio::test]
async fn what_is_no_token_is_told_apart_from_one_that_is_not_valid() {
    let world = World::start();
    let client = world.client();

    assert!(verify(&client, "0123").await.names(&["token"]));
    let unknown = verify(&client, &"0".repeat(64)).await;
    assert_eq!(unknown.code(), "invalid_verification_token");
}
