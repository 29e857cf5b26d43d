//! The whole life of an account, with the mails as they arrive; also runs against a deployment.

use harness::client::{unique_email, unique_password};
use harness::{Authenticator, Client, World, token};
use serde_json::{Value, json};

async fn ok(client: &Client, path: &str, body: Value) -> Value {
    let answer = client.post(path, body).await;
    assert!(answer.status.is_success(), "{path}: {answer:?}");
    answer.body
}

#[tokio::test]
async fn from_the_first_mail_to_the_last() {
    let Some(world) = World::with_mail() else {
        return;
    };
    let client = world.client();
    let (email, password, new) = (unique_email(), unique_password(), unique_password());

    let body = json!({ "email": email, "password": password, "name": "Ada" });
    ok(&client, "/api/auth/register", body).await;
    let mail = world.mail(&email, "Verify your address").await;
    let link = json!({ "token": token::in_mail(&mail) });
    let alone = client.post("/api/auth/verify-email", link.clone()).await;
    assert_eq!(alone.code(), "confirmation_required");
    let body = json!({ "token": link["token"], "password": password });
    ok(&client, "/api/auth/verify-email", body).await;
    ok(&client, "/api/auth/verify-email", link).await;

    let login = async |password: &str, code: Option<String>| {
        let body = json!({ "email": email, "password": password });
        let mut body = body.as_object().unwrap().clone();
        body.extend(code.map(|code| ("twoFactorToken".to_owned(), json!(code))));
        client.post("/api/auth/login", Value::Object(body)).await
    };
    let session = login(&password, None).await;
    assert_eq!(session["user"]["emailVerified"], true);
    let refreshed = client.refresh(&session.text("refreshToken")).await;
    assert_eq!(refreshed.status, 200);

    ok(&client, "/forgot-password", json!({ "email": email })).await;
    let mail = world.mail(&email, "Reset your").await;
    let body = json!({ "token": token::in_mail(&mail), "newPassword": new });
    ok(&client, "/reset-password", body).await;
    world.mail(&email, "password was reset").await;
    let access = refreshed.text("accessToken");
    assert_eq!(client.profile(&access).await.code(), "token_revoked");
    assert_eq!(login(&password, None).await.code(), "invalid_credentials");

    let access = login(&new, None).await.text("accessToken");
    let setup = client.set_up_two_factor(&access, json!({})).await;
    let mut app = Authenticator::scan(&setup);
    let body = json!({ "token": app.next().await });
    let codes = client.verify_two_factor(&access, body).await;
    world.mail(&email, "is on").await;
    assert_eq!(login(&new, None).await.code(), "two_factor_required");
    let code = codes["backupCodes"][0].as_str().unwrap().to_owned();
    let session = login(&new, Some(code.clone())).await;
    assert_eq!(session.status, 200, "{session:?}");
    assert_eq!(login(&new, Some(code)).await.code(), "two_factor_invalid");
    let code = codes["backupCodes"][1].as_str().unwrap().to_owned();

    let access = session.text("accessToken");
    let sessions = client.sessions(&access).await;
    assert!(!sessions["sessions"].as_array().unwrap().is_empty());
    let gone = client
        .delete_as(
            &access,
            "/api/auth/profile",
            json!({ "password": new, "twoFactorToken": code }),
        )
        .await;
    assert_eq!(gone.status, 200, "{gone:?}");
    world.mail(&email, "deleted").await;
    assert_eq!(login(&new, None).await.code(), "invalid_credentials");
    assert_eq!(client.profile(&access).await.status, 401);
}
