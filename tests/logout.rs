//! `POST /api/auth/logout`.

use harness::client::with_content_type;
use harness::{World, token};
use reqwest::Method;
use serde_json::json;

const PATH: &str = "/api/auth/logout";

/// security.md 21.
#[tokio::test]
async fn a_logout_ends_the_session_and_its_access_tokens_at_once() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    let renewed = client.refresh(&account.refresh).await;
    let (other, _) = client.login(&account).await;

    let answer = client.logout(&account.access).await;

    assert_eq!(answer.status, 200);
    assert_eq!(
        client.profile(&account.access).await.code(),
        "token_revoked"
    );
    assert_eq!(
        client.profile(&renewed.text("accessToken")).await.code(),
        "token_revoked"
    );
    assert_eq!(
        client.refresh(&renewed.text("refreshToken")).await.code(),
        "refresh_token_invalid"
    );
    assert_eq!(
        client.profile(&other).await.status,
        200,
        "another session continues"
    );
}

/// security.md 21.
#[tokio::test]
async fn a_second_logout_is_harmless() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;

    for _ in 0..2 {
        assert_eq!(client.logout(&account.access).await.status, 200);
    }
}

#[tokio::test]
async fn all_devices_means_all() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    let others = [client.login(&account).await, client.login(&account).await];
    let stranger = client.register().await;

    let answer = client.logout_everywhere(&others[0].0).await;

    assert_eq!(answer.status, 200);
    for access in [&account.access, &others[0].0, &others[1].0] {
        assert_eq!(client.profile(access).await.code(), "token_revoked");
    }
    assert_eq!(
        client.refresh(&account.refresh).await.code(),
        "refresh_token_invalid"
    );
    assert_eq!(client.profile(&stranger.access).await.status, 200);
}

/// Somebody with a stolen token that was revoked since must not be able to sign its owner out.
#[tokio::test]
async fn a_token_whose_session_is_over_ends_no_other_session() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    client.logout(&account.access).await;
    let (access, _) = client.login(&account).await;

    let answer = client.logout_everywhere(&account.access).await;

    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (401, "token_revoked")
    );
    assert_eq!(client.profile(&access).await.status, 200);
}

#[tokio::test]
async fn a_second_logout_of_all_devices_is_harmless() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    client.login(&account).await;

    for _ in 0..2 {
        let answer = client.logout_everywhere(&account.access).await;
        assert_eq!(answer.status, 200);
    }
}

/// A full cache, or one that has lost data, signs out the users whose records are gone, and nobody else.
#[tokio::test]
async fn sessions_that_redis_has_lost_are_over() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let (account, other) = (client.register().await, world.client().register().await);

    let _: () = redis::cmd("DEL")
        .arg(format!("sessions:{{{}}}", account.id))
        .query(&mut world.redis())
        .unwrap();

    assert_eq!(
        client.profile(&account.access).await.code(),
        "token_revoked"
    );
    assert_eq!(
        client.refresh(&account.refresh).await.code(),
        "refresh_token_invalid"
    );
    assert_eq!(client.profile(&other.access).await.status, 200);
}

#[tokio::test]
async fn a_logout_needs_a_valid_access_token_and_a_valid_body_if_any() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;

    let none = client.send(client.request(Method::POST, PATH)).await;
    let wrong = client.logout("nonsense").await;
    let flag = client
        .post_as(&account.access, PATH, json!({ "allDevices": "yes" }))
        .await;
    let field = client
        .post_as(&account.access, PATH, json!({ "everything": true }))
        .await;
    let text = with_content_type(client.request(Method::POST, PATH), "text/plain", "{}")
        .bearer_auth(&account.access);

    assert_eq!(
        (none.code(), wrong.code()),
        ("missing_token", "invalid_token")
    );
    assert!(flag.names(&["allDevices"]), "{flag:?}");
    assert!(field.names(&["everything"]), "{field:?}");
    assert_eq!(client.send(text).await.code(), "unsupported_media_type");
    assert_eq!(
        client.profile(&account.access).await.status,
        200,
        "the session continues"
    );
}

/// security L13: a token of an ended session cannot fill its owner's audit log.
#[tokio::test]
async fn a_logout_that_ends_something_is_in_the_audit_log_once() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;

    for _ in 0..6 {
        assert_eq!(client.logout(&account.access).await.status, 200);
    }

    let audit = world.dynamodb().audit(&account.id).await;
    let entry = ("logout".to_owned(), "success".to_owned());
    assert_eq!(audit.iter().filter(|other| **other == entry).count(), 1);
}

/// bugs 6: an hour later, the access token has expired.
#[tokio::test]
async fn an_expired_access_token_or_the_refresh_token_ends_the_session_as_well() {
    let world = World::build().variable("JWT_EXPIRY", "1s");
    let Some(world) = world.start() else { return };
    let client = world.client();
    let (one, other) = (client.register().await, client.register().await);
    token::wait_until_expired(&one.access).await;
    token::wait_until_expired(&other.access).await;
    assert_eq!(client.profile(&one.access).await.code(), "token_expired");

    // An expired token, for example from a log, ends no other session.
    let everywhere = json!({ "allDevices": true });
    let old = client.post_as(&one.access, PATH, everywhere).await;
    assert_eq!((old.status.as_u16(), old.code()), (401, "token_expired"));

    let by_access = client.logout(&one.access).await;
    let body = json!({ "refreshToken": other.refresh });
    let by_refresh = client.post(PATH, body).await;
    let nonsense = client
        .post(PATH, json!({ "refreshToken": "nonsense" }))
        .await;

    assert_eq!(by_access.status, 200, "{by_access:?}");
    assert_eq!(by_refresh.status, 200, "{by_refresh:?}");
    assert_eq!(
        (nonsense.status.as_u16(), nonsense.code()),
        (401, "refresh_token_invalid")
    );
    for refresh in [&one.refresh, &other.refresh] {
        assert_eq!(
            client.refresh(refresh).await.code(),
            "refresh_token_invalid"
        );
    }
}
