//! `POST /api/auth/verify-email`.

use futures_util::future::join_all;
use harness::client::{unique_email, unique_password, unique_username};
use harness::{Account, Answer, Client, World, code};
use serde_json::json;

const PATH: &str = "/api/auth/verify-email";

async fn verify(client: &Client, account: &Account, token: &str) -> Answer {
    let body = json!({ "token": token });
    client.post_as(&account.access, PATH, body).await
}

#[tokio::test]
async fn the_mailed_token_proves_the_address_and_the_second_click_says_so() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let token = world.mailed_token("verify_email", &account.email).await;

    let answer = verify(&client, &account, &token).await;
    // bugs 15: from a mail program without a session.
    let again = client.post(PATH, json!({ "token": token })).await;

    assert_eq!(answer.status, 200);
    assert_eq!(again.status, 200, "{again:?}");
    let profile = client.profile(&account.access).await;
    assert_eq!(profile["user"]["emailVerified"], true);
    let audit = world.dynamodb().audit(&account.id).await;
    let entry = ("email_verification".to_owned(), "success".to_owned());
    assert_eq!(audit.last(), Some(&entry));
}

/// security.md 27.
#[tokio::test]
async fn of_fifty_tries_at_once_one_does_the_work_and_all_are_told_that_it_is_done() {
    let Some(world) = World::inside() else {
        return;
    };
    let account = world.client().register().await;
    let token = world.mailed_token("verify_email", &account.email).await;
    let tries = (0..50).map(|_| {
        let (client, account, token) = (world.client().patient(), &account, &token);
        async move { verify(&client, account, token).await }
    });

    for answer in join_all(tries).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    let audit = world.dynamodb().audit(&account.id).await;
    let entry = ("email_verification".to_owned(), "success".to_owned());
    assert_eq!(audit.iter().filter(|other| **other == entry).count(), 1);
}

/// security L7, bugs 10: a click of the address' owner must not prove it for the stranger who registered it.
#[tokio::test]
async fn a_link_alone_proves_nothing_and_the_account_shows_itself_in_three_ways() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    for way in ["access", "device", "cookie", "password"] {
        let (email, password) = (unique_email(), unique_password());
        let body = json!({ "email": email, "password": password });
        let registered = client.post("/api/auth/register", body).await;
        let stranger = client.register().await;
        let token = world.mailed_token("verify_email", &email).await;
        let alone = client.post(PATH, json!({ "token": token })).await;
        let foreign = client
            .post_as(&stranger.access, PATH, json!({ "token": token }))
            .await;
        let wrong = json!({ "token": token, "password": "Wrong-7-horse" });
        let wrong = client.post(PATH, wrong).await;
        for answer in [alone, foreign] {
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (403, "confirmation_required")
            );
        }
        assert_eq!(
            (wrong.status.as_u16(), wrong.code()),
            (403, "invalid_credentials")
        );

        let request = client.request(reqwest::Method::POST, PATH);
        let body = json!({ "token": token });
        let device = registered.text("deviceToken");
        let request = match way {
            "access" => request
                .bearer_auth(registered.text("accessToken"))
                .json(&body),
            "device" => request.header("x-device-token", device).json(&body),
            "cookie" => request
                .header("cookie", format!("__Host-device={device}"))
                .json(&body),
            _ => request.json(&json!({ "token": token, "password": password })),
        };
        let verified = client.send(request).await;

        assert_eq!(verified.status, 200, "{way}: {verified:?}");
        let profile = client.profile(&registered.text("accessToken")).await;
        assert_eq!(profile["user"]["emailVerified"], true, "{way}");
    }
}

#[tokio::test]
async fn with_links_alone_a_link_is_enough() {
    let world = World::build().variable("EMAIL_VERIFICATION", "link");
    let Some(world) = world.start() else { return };
    let client = world.client();
    let account = client.register().await;
    let token = world.mailed_token("verify_email", &account.email).await;

    assert_eq!(
        client.post(PATH, json!({ "token": token })).await.status,
        200
    );
}

/// Guessing passwords with a link counts as guessing at login.
#[tokio::test]
async fn wrong_passwords_beside_a_link_lock_as_at_login() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let token = world.mailed_token("verify_email", &account.email).await;
    for _ in 0..5 {
        let body = json!({ "token": token, "password": "Wrong-7-horse" });
        assert_eq!(client.post(PATH, body).await.code(), "invalid_credentials");
    }

    let body = json!({ "token": token, "password": account.password });
    assert_eq!(client.post(PATH, body).await.code(), "account_locked");
    let login = client.try_login(&account.email, &account.password).await;
    assert_eq!(login.code(), "account_locked");
}

/// security L6: neither an address nor a username is held for ever.
#[tokio::test]
async fn where_proof_is_required_an_account_without_goes_and_one_with_it_stays() {
    let world = World::build()
        .variable("REQUIRE_VERIFIED_EMAIL", "true")
        .variable("UNVERIFIED_ACCOUNT_EXPIRY", "3s");
    let Some(world) = world.start() else { return };
    let client = world.client();
    let register = async |email: &str, username: &str| {
        let body =
            json!({ "email": email, "username": username, "password": "Correct-7-horse-42" });
        client.post("/api/auth/register", body).await
    };
    let (proven, name) = (unique_email(), unique_username());
    register(&proven, &name).await;
    let token = world.mailed_token("verify_email", &proven).await;
    let body = json!({ "token": token, "password": "Correct-7-horse-42" });
    assert_eq!(client.post(PATH, body).await.status, 200);
    let (unproven, held) = (unique_email(), unique_username());
    assert_eq!(register(&unproven, &held).await.status, 201);

    let is_free = async || register(&unproven, &held).await.status == 201;
    harness::until("the account to go", is_free).await;

    assert_eq!(
        register(&proven, &unique_username()).await.code(),
        "email_taken"
    );
    assert_eq!(
        register(&unique_email(), &name).await.code(),
        "username_taken"
    );
    assert_eq!(
        client.try_login(&proven, "Correct-7-horse-42").await.status,
        200
    );
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
    let proof = json!({ "token": token, "password": password });
    let verified = client.post(PATH, proof).await;
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
        "shown only after the right password"
    );
    assert_eq!(
        (verified.status.as_u16(), signed_in.status.as_u16()),
        (200, 200)
    );
}

/// security.md 8.
#[tokio::test]
async fn rejecting_an_account_removes_it_and_frees_its_names() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    client.enrol(&account).await;
    // With a link of its own. The earlier mail has the same link, while a newer mail voids the link that verifies.
    let token = world.rejection_token(&account.email).await;
    let body = json!({ "email": account.email });
    client.post("/api/auth/verify-email/resend", body).await;
    assert_eq!(world.rejection_token(&account.email).await, token);
    let proves = client
        .post_as(&account.access, PATH, json!({ "token": token }))
        .await;
    assert_eq!(
        proves.code(),
        "invalid_verification_token",
        "this link proves nothing"
    );

    let answer = client
        .post(PATH, json!({ "token": token, "reject": true }))
        .await;

    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        client.profile(&account.access).await.code(),
        "token_revoked"
    );
    let refreshed = client.refresh(&account.refresh).await;
    assert_eq!(refreshed.code(), "refresh_token_invalid");
    let login = client.try_login(&account.email, &account.password).await;
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
    let reject = world.rejection_token(&account.email).await;
    verify(&client, &account, &token).await;

    for token in [token, reject] {
        let answer = client
            .post(PATH, json!({ "token": token, "reject": true }))
            .await;

        assert_eq!(answer.code(), "invalid_verification_token");
    }
    client.login(&account).await;
}

/// The record, and therefore its claims, may change between reading and removing.
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
            client.update_profile(&account.access, rename),
        );

        // security I6.
        assert_eq!(rejected.status, 200, "{rejected:?}");
    }
    let claims = world.dynamodb().items("USERNAME#").await;
    assert!(claims.is_empty(), "{claims:?}");
}

/// security.md 26: programs that open links use GET or HEAD.
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

    assert_eq!(verify(&client, &account, &token).await.status, 200);
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
        verify(&client, &account, &token).await.code(),
        "invalid_verification_token"
    );
}

#[tokio::test]
async fn a_malformed_token_is_told_apart_from_one_that_is_not_valid() {
    let world = World::start();
    let client = world.client();

    let none = client.post(PATH, json!({ "token": "0123" })).await;
    assert!(none.names(&["token"]));
    let unknown = client.post(PATH, json!({ "token": "0".repeat(64) })).await;
    assert_eq!(unknown.code(), "invalid_verification_token");
}

/// security.md 53: the code of the mail is for the client that registered, or that asked for another mail.
#[tokio::test]
async fn the_code_of_the_mail_proves_the_address_for_the_one_who_registered() {
    let Some(world) = World::with_mail() else {
        return;
    };
    let client = world.client();
    let (email, password) = (unique_email(), unique_password());
    let body = json!({ "email": email, "password": password });
    let registered = client.post("/api/auth/register", body).await;
    let kept = &registered["verification"]["requestToken"];
    let digits = code::of_mail(&world, &email, "Verify").await;
    let verify = async |code: &str, password: Option<&str>| {
        let body = json!({ "requestToken": kept, "code": code, "password": password });
        client.post("/api/auth/verify-email", body).await
    };

    let wrong = verify(&code::other_than(&digits), Some(&password)).await;
    assert_eq!(wrong.code(), "invalid_verification_token");
    let without = verify(&digits, None).await;
    assert_eq!(without.code(), "confirmation_required", "as with the link");
    let verified = verify(&digits, Some(&password)).await;
    assert_eq!(verified.status, 200, "{verified:?}");
    let login = client.try_login(&email, &password).await;
    assert_eq!(login["user"]["emailVerified"], true);

    let account = client.register().await;
    code::of_mail(&world, &account.email, "Verify").await;
    let asked = client.resend_verification(&account.email).await;
    harness::until("the second mail", async || {
        world.mails_about(&account.email, "Verify").await.len() == 2
    })
    .await;
    let digits = code::of_mail(&world, &account.email, "Verify").await;
    let body = json!({ "requestToken": asked["requestToken"], "code": digits });
    let path = "/api/auth/verify-email";
    let verified = client.post_as(&account.access, path, body).await;
    assert_eq!(verified.status, 200, "{verified:?}");
}
