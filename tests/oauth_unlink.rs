//! `DELETE /api/auth/oauth/links/{provider}`.

use harness::client::{unique_email, unique_password};
use harness::oauth::{self, FAKE, FakeProvider, verified};
use harness::passkey::{self, Passkey};
use serde_json::json;

#[tokio::test]
async fn an_unlinked_identity_signs_in_no_more_and_is_free() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let account = passkey::proven(&world, &client).await;
    let claims = verified(&unique_email());
    assert_eq!(
        provider
            .link(&client, &account, claims.clone())
            .await
            .status,
        200
    );

    let unlinked = oauth::unlink(&client, &account.access, FAKE).await;

    assert_eq!(unlinked.status, 200, "{unlinked:?}");
    assert!(oauth::linked(&client, &account.access).await.is_empty());
    assert_eq!(world.mails("identity_unlinked", &account.email).await, 1);
    let again = oauth::unlink(&client, &account.access, FAKE).await;
    assert_eq!(again.code(), "not_found");
    let other = provider.signed_in(&client, claims).await;
    assert_ne!(other["user"]["id"], account.id);
}

/// security.md 63: nobody is left without a way in.
#[tokio::test]
async fn the_last_way_in_stays_until_there_is_another() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let signed_in = provider.signed_in(&client, verified(&unique_email())).await;
    let access = signed_in.text("accessToken");

    let refused = oauth::unlink(&client, &access, FAKE).await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (409, "last_sign_in_method")
    );

    // A password that the user sets by mail is another way.
    let email = signed_in["user"]["email"].as_str().unwrap();
    client.request_reset(email).await;
    let token = world.mailed_token("reset_password", email).await;
    let password = unique_password();
    let body = json!({ "token": token, "newPassword": password });
    let reset = client.post("/api/auth/password-reset/confirm", body).await;
    assert_eq!(reset.status, 200, "{reset:?}");
    let access = client.try_login(email, &password).await.text("accessToken");
    assert_eq!(client.profile(&access).await["hasPassword"], true);
    let unlinked = oauth::unlink(&client, &access, FAKE).await;
    assert_eq!(unlinked.status, 200, "{unlinked:?}");
}

#[tokio::test]
async fn a_passkey_is_another_way_in() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let signed_in = provider.signed_in(&client, verified(&unique_email())).await;
    let access = signed_in.text("accessToken");
    let mut passkey = Passkey::default();
    let added = passkey.register(&client, &access).await;
    assert_eq!(added.status, 200, "{added:?}");

    let unlinked = oauth::unlink(&client, &access, FAKE).await;

    assert_eq!(unlinked.status, 200, "{unlinked:?}");
    assert_eq!(passkey.login(&client).await.status, 200);
}

#[tokio::test]
async fn it_takes_a_recent_sign_in_or_the_password() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let account = passkey::proven(&world, &client).await;
    assert_eq!(
        provider
            .link(&client, &account, verified(&unique_email()))
            .await
            .status,
        200
    );
    world.age_session(&account.access, 11);

    let old = oauth::unlink(&client, &account.access, FAKE).await;
    assert_eq!(old.code(), "reauthentication_required");
    let path = format!("/api/auth/oauth/links/{FAKE}");
    let body = json!({ "password": account.password });
    let with_password = client.delete_as(&account.access, &path, body).await;
    assert_eq!(with_password.status, 200, "{with_password:?}");
}
