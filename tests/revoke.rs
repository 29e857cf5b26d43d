//! `POST /api/auth/revoke` (RFC 7009).

use harness::Client;
use harness::peers::Mode;
use harness::service::{self, ONE};
use harness::token::{self, KeyPair};
use serde_json::json;

const PATH: &str = "/api/auth/revoke";

async fn revoke(client: &Client, token: &str) {
    let answer = service::ask(client, PATH, ONE, token).await;
    assert_eq!((answer.status.as_u16(), answer.body), (200, json!({})));
}

#[tokio::test]
async fn either_token_ends_its_session_and_no_other() {
    let Some(world) = service::world().start() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    for is_access in [true, false] {
        let (access, refresh) = client.login(&account).await;

        revoke(&client, if is_access { &access } else { &refresh }).await;

        assert_eq!(client.profile(&access).await.code(), "token_revoked");
        let renewed = client.refresh(&refresh).await;
        assert_eq!(renewed.code(), "refresh_token_invalid");
        assert_eq!(client.profile(&account.access).await.status, 200);
    }
    let audit = world.dynamodb().audit(&account.id).await;
    let logout = ("logout".to_owned(), "success".to_owned());
    assert_eq!(audit.iter().filter(|entry| **entry == logout).count(), 2);
}

/// A token that is over already is no error (RFC 7009, 2.2), and fills no audit log.
#[tokio::test]
async fn a_token_that_is_not_valid_changes_nothing() {
    let Some(world) = service::world().start() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let (over, _) = client.login(&account).await;
    assert_eq!(client.logout(&over).await.status, 200);
    let before = world.dynamodb().audit(&account.id).await;
    let (header, claims) = token::parts(&account.access);

    for token in [
        "x",
        &over,
        &KeyPair::generate().forge(&header, &claims),
        &format!("{}x", account.access),
    ] {
        revoke(&client, token).await;
    }

    assert_eq!(client.profile(&account.access).await.status, 200);
    assert_eq!(world.dynamodb().audit(&account.id).await, before);
}

/// security.md 45.
#[tokio::test]
async fn nobody_ends_a_session_without_the_secret_of_a_service() {
    let Some(world) = service::world().start() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;

    service::is_for_services_alone(&client, PATH, &account.access).await;
    service::needs_a_form_with_one_token(&client, PATH, &account.access).await;

    assert_eq!(client.profile(&account.access).await.status, 200);
}

#[tokio::test]
async fn without_redis_the_service_is_told_that_the_session_goes_on() {
    let Some((world, proxy, _redis)) = service::world().behind_redis_proxy().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    proxy.set(Mode::Gone);
    let answer = service::ask(&client, PATH, ONE, &account.access).await;
    assert_eq!(answer.code(), "service_unavailable");
    proxy.set(Mode::Forward);

    revoke(&client, &account.access).await;

    assert_eq!(
        client.profile(&account.access).await.code(),
        "token_revoked"
    );
}
