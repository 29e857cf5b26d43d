//! `DELETE /api/auth/passkeys/{id}`.

use harness::World;
use harness::passkey::{Passkey, assert_refused, listed, proven, remove};
use serde_json::json;

#[tokio::test]
async fn a_removed_passkey_signs_in_no_more_and_only_its_owner_removes_it() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let (account, other) = (proven(&world, &client).await, proven(&world, &client).await);
    let passkey = &mut Passkey::default();
    let added = passkey.register(&client, &account.access).await;
    let id = &added["passkey"]["id"];

    for (access, id) in [(&other.access, id), (&account.access, &json!("unknown"))] {
        let removed = remove(&client, access, id, json!({})).await;
        assert_eq!(
            (removed.status.as_u16(), removed.code()),
            (404, "not_found")
        );
    }
    assert_eq!(passkey.login(&client).await.status, 200);
    let removed = remove(&client, &account.access, id, json!({})).await;

    assert_eq!(removed.status, 200, "{removed:?}");
    assert_refused(&passkey.login(&client).await, "it was removed");
    assert!(listed(&client, &account.access).await.is_empty());
    assert_eq!(world.mails("passkey_removed", &account.email).await, 1);
    assert!(world.dynamodb().items("PASSKEY#").await.is_empty());
    let audit = world.dynamodb().audit(&account.id).await;
    for event in ["passkey_register", "passkey_login", "passkey_remove"] {
        let success = (event.to_owned(), "success".to_owned());
        assert!(audit.contains(&success), "{event}: {audit:?}");
    }
    let again = remove(&client, &account.access, id, json!({})).await;
    assert_eq!(again.code(), "not_found");
    let added = passkey.register(&client, &account.access).await;
    assert_eq!(added.status, 200, "the same one again: {added:?}");
}

/// security.md 51: whoever held a session and added a passkey is thrown out with the session.
#[tokio::test]
async fn the_link_that_undoes_a_second_factor_removes_the_passkeys() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = proven(&world, &client).await;
    let thief = &mut Passkey::of(&client, &account).await;
    client.enrol(&account).await;
    let undo = world.mailed_token("two_factor_on", &account.email).await;

    let undone = client.undo_two_factor(&undo).await;

    assert_eq!(undone.status, 200, "{undone:?}");
    assert_refused(&thief.login(&client).await, "the thief's passkey");
    assert!(world.dynamodb().items("PASSKEY#").await.is_empty());
    let record = world.dynamodb().user(&account.id).await;
    assert!(record["passkeys"].is_null(), "{record}");
}
