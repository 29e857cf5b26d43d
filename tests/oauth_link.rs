//! `POST /api/auth/oauth/link`.

use harness::client::unique_email;
use harness::oauth::{self, FAKE, FakeProvider, verified};
use harness::passkey;
use serde_json::json;

#[tokio::test]
async fn a_signed_in_user_links_an_identity_with_any_address() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let account = passkey::proven(&world, &client).await;
    let mut claims = verified(&unique_email());
    claims["email_verified"] = json!(false);

    let linked = provider.link(&client, &account, claims.clone()).await;

    assert_eq!(linked.status, 200, "{linked:?}");
    assert_eq!(linked["identity"]["provider"], FAKE);
    assert_eq!(world.mails("identity_linked", &account.email).await, 1);
    let signed_in = provider.signed_in(&client, claims.clone()).await;
    assert_eq!(signed_in["user"]["id"], account.id);
    let again = provider.link(&client, &account, claims).await;
    assert_eq!(again.status, 200, "it is the caller's already: {again:?}");
    let second = provider
        .link(&client, &account, verified(&unique_email()))
        .await;
    assert_eq!(
        (second.status.as_u16(), second.code()),
        (409, "provider_already_linked")
    );
}

/// security.md 62: no link takes an identity from its owner, or signs a stranger in.
#[tokio::test]
async fn an_identity_belongs_to_one_account() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let (owner, other) = (
        passkey::proven(&world, &client).await,
        passkey::proven(&world, &client).await,
    );
    let claims = verified(&unique_email());
    assert_eq!(
        provider.link(&client, &owner, claims.clone()).await.status,
        200
    );

    let taken = provider.link(&client, &other, claims.clone()).await;

    assert_eq!(
        (taken.status.as_u16(), taken.code()),
        (409, "identity_taken")
    );
    let signed_in = provider.signed_in(&client, claims).await;
    assert_eq!(signed_in["user"]["id"], owner.id);
}

#[tokio::test]
async fn a_grant_of_another_browser_or_a_used_one_links_nothing_and_ends_no_session() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let account = passkey::proven(&world, &client).await;
    // A thief lets the victim's page come back with the thief's identity.
    let thief = world.client();
    let (_, of_thief) = provider.answer(&thief, verified(&unique_email())).await;
    let own = oauth::start(&client, FAKE).await;
    let forged = oauth::link(&client, &account.access, &own, &oauth::grant(&of_thief)).await;
    assert!(forged.names(&["grant"]), "{forged:?}");

    let (begun, fragment) = provider.answer(&client, verified(&unique_email())).await;
    let grant = oauth::grant(&fragment);
    let used = oauth::login(&client, &begun, &grant).await;
    assert_eq!(used.status, 200, "{used:?}");
    let again = oauth::link(&client, &account.access, &begun, &grant).await;
    assert_eq!(again.status, 400, "{again:?}");
    assert!(oauth::linked(&client, &account.access).await.is_empty());
}

#[tokio::test]
async fn it_takes_a_recent_sign_in_or_the_password_and_a_proven_address() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let unproven = client.register().await;
    let refused = provider
        .link(&client, &unproven, verified(&unique_email()))
        .await;
    assert_eq!(refused.code(), "email_not_verified");
    let account = passkey::proven(&world, &client).await;
    world.age_session(&account.access, 11);
    let (begun, fragment) = provider.answer(&client, verified(&unique_email())).await;
    let grant = oauth::grant(&fragment);

    let old = oauth::link(&client, &account.access, &begun, &grant).await;
    assert_eq!(old.code(), "reauthentication_required");
    let with_password = async |password: &str| {
        let body =
            json!({ "grant": grant, "requestToken": begun.request_token, "password": password });
        client
            .post_as(&account.access, "/api/auth/oauth/link", body)
            .await
    };
    assert_eq!(
        with_password("Wrong-7-horse").await.code(),
        "invalid_credentials"
    );
    assert_eq!(with_password(&account.password).await.status, 200);
}

/// An attacker who had the account may have linked an identity: the link that undoes the second factor removes it.
#[tokio::test]
async fn undoing_the_second_factor_removes_linked_identities() {
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
    client.enrol(&account).await;
    let token = world.mailed_token("two_factor_on", &account.email).await;

    let undone = client.undo_two_factor(&token).await;

    assert_eq!(undone.status, 200, "{undone:?}");
    let record = world.dynamodb().user(&account.id).await;
    assert!(record["identities"].is_null(), "{record}");
    let other = provider.signed_in(&client, claims).await;
    assert_ne!(other["user"]["id"], account.id, "the identity is free");
}

#[tokio::test]
async fn links_and_sign_ins_at_once_leave_one_owner() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let (one, two) = (
        passkey::proven(&world, &client).await,
        passkey::proven(&world, &client).await,
    );
    let claims = verified(&unique_email());
    let first = provider.answer(&client, claims.clone()).await;
    let second = provider.answer(&client, claims).await;

    let both = [(&one, first), (&two, second)].map(|(account, (begun, fragment))| {
        let client = client.clone();
        async move { oauth::link(&client, &account.access, &begun, &oauth::grant(&fragment)).await }
    });
    let answers = futures_util::future::join_all(both).await;

    let mut statuses: Vec<u16> = answers
        .iter()
        .map(|answer| answer.status.as_u16())
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{answers:?}");
}
