//! `DELETE /api/auth/profile`.

use harness::World;
use harness::client::{unique_password, with_content_type};
use reqwest::Method;
use serde_json::json;

const PATH: &str = "/api/auth/profile";

#[tokio::test]
async fn a_deleted_account_is_over_at_once() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    let (other_access, other_refresh) = client.login(&account).await;

    let answer = client
        .delete_account(&account.access, &account.password)
        .await;

    assert_eq!(answer.status, 200);
    let login = client.try_login(&account.email, &account.password).await;
    assert_eq!(login.code(), "invalid_credentials");
    for access in [&account.access, &other_access] {
        assert_eq!(client.profile(access).await.code(), "token_revoked");
    }
    for refresh in [&account.refresh, &other_refresh] {
        assert_eq!(
            client.refresh(refresh).await.code(),
            "refresh_token_invalid"
        );
    }
    let again = client
        .delete_account(&account.access, &account.password)
        .await;
    assert_eq!(again.code(), "token_revoked");
}

#[tokio::test]
async fn nobody_takes_the_names_of_a_deleted_account_before_the_purge() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    client
        .delete_account(&account.access, &account.password)
        .await;
    let stranger = client.register().await;

    let body = json!({ "email": account.email.to_uppercase(), "password": unique_password() });
    let address = client.post("/api/auth/register", body).await;
    let username = client
        .update_profile(&stranger.access, json!({ "username": account.username }))
        .await;

    assert_eq!(
        (address.code(), username.code()),
        ("email_taken", "username_taken")
    );
}

#[tokio::test]
async fn all_items_of_a_deleted_account_carry_their_end_and_its_owner_gets_a_mail() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let dynamodb = world.dynamodb();

    client
        .delete_account(&account.access, &account.password)
        .await;

    let mut items = dynamodb.scan(&dynamodb.users).await;
    items.extend(dynamodb.scan(&dynamodb.credentials).await);
    assert!(items.len() >= 9, "{items:?}");
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs();
    for item in &items {
        let ttl: u64 = item["ttl"]["N"]
            .as_str()
            .unwrap_or_else(|| panic!("no ttl: {item}"))
            .parse()
            .unwrap();
        let is_purged =
            ["PROFILE", "CLAIM", "PASSWORD"].contains(&item["sk"]["S"].as_str().unwrap());
        assert!(ttl > now, "{item}");
        assert!(
            !is_purged || ttl.abs_diff(now + 30 * 86_400) < 60,
            "30 days: {item}"
        );
    }
    assert_eq!(dynamodb.user(&account.id).await["status"]["S"], "deleted");
    let outbox = dynamodb.items("OUTBOX#").await;
    assert!(
        outbox
            .iter()
            .any(|mail| mail["kind"]["S"] == "account_deleted" && mail["to"]["S"] == account.email)
    );
    // The code of the mail that verifies the address ends by itself, ten minutes after the registration.
    let mut keys = world.redis_keys("*");
    keys.retain(|key| !key.starts_with("mailed_code:"));
    assert_eq!(keys, Vec::<String>::new());
}

#[tokio::test]
async fn a_wrong_password_deletes_nothing() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;

    let answer = client
        .delete_account(&account.access, "Wrong-7-horse")
        .await;

    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (403, "invalid_credentials")
    );
    assert_eq!(client.profile(&account.access).await.status, 200);
    let audit = world.dynamodb().audit(&account.id).await;
    assert_eq!(
        audit.last().unwrap(),
        &("account_delete".to_owned(), "failure".to_owned())
    );
}

#[tokio::test]
async fn a_deletion_needs_a_token_and_a_password() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;

    let no_token = client
        .send(
            client
                .request(Method::DELETE, PATH)
                .json(&json!({ "password": account.password })),
        )
        .await;
    let no_password = client.delete_as(&account.access, PATH, json!({})).await;
    let no_body = client
        .send(
            client
                .request(Method::DELETE, PATH)
                .bearer_auth(&account.access),
        )
        .await;
    let text = with_content_type(client.request(Method::DELETE, PATH), "text/plain", "x")
        .bearer_auth(&account.access);

    assert_eq!(no_token.code(), "missing_token");
    assert!(no_password.names(&["password"]), "{no_password:?}");
    assert_eq!(no_body.code(), "unsupported_media_type");
    assert_eq!(client.send(text).await.code(), "unsupported_media_type");
    assert_eq!(client.profile(&account.access).await.status, 200);
}

/// The record, and therefore its claims, may change between reading and deleting.
#[tokio::test]
async fn a_deletion_racing_a_rename_leaves_no_claim_without_an_end() {
    let Some(world) = World::inside() else { return };
    for _ in 0..10 {
        let client = world.client();
        let account = client.register().await;
        let rename = json!({ "username": harness::client::unique_username() });

        let (deleted, _) = tokio::join!(
            client.delete_account(&account.access, &account.password),
            client.update_profile(&account.access, rename),
        );

        assert_eq!(deleted.status, 200);
    }
    for claim in world.dynamodb().items("USERNAME#").await {
        assert!(claim.get("ttl").is_some(), "{claim}");
    }
}
