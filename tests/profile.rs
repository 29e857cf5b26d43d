//! `GET` and `PUT /api/auth/profile`.

use harness::World;
use harness::client::{unique_email, unique_password, unique_username};
use reqwest::Method;
use serde_json::{Value, json};

const PATH: &str = "/api/auth/profile";

#[tokio::test]
async fn the_profile_shows_the_user_and_the_second_factor() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;

    for path in [PATH, "/me", "/api/auth/me"] {
        let answer = client.get_as(&account.access, path).await;

        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(
            (&answer["user"]["id"], &answer["user"]["email"]),
            (&json!(account.id), &json!(account.email))
        );
        assert_eq!(
            answer["twoFactor"],
            json!({ "devices": [], "backupCodesLeft": 0 })
        );
    }
}

#[tokio::test]
async fn the_second_factor_is_shown_as_the_record_has_it() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let device = json!({ "M": { "id": { "S": "d1" }, "name": { "S": "Phone" }, "confirmed_at": { "S": "2026-11-21T10:00:00.000Z" } } });
    world
        .dynamodb()
        .set_user(&account.id, "two_factor_devices", json!({ "L": [device] }))
        .await;
    world
        .dynamodb()
        .set_user(&account.id, "backup_codes_left", json!({ "N": "9" }))
        .await;

    let answer = client.profile(&account.access).await;

    let device = json!({ "id": "d1", "name": "Phone", "confirmedAt": "2026-11-21T10:00:00.000Z" });
    assert_eq!(
        answer["twoFactor"],
        json!({ "devices": [device], "backupCodesLeft": 9 })
    );
}

#[tokio::test]
async fn a_given_field_is_changed_an_absent_one_stays_and_null_clears() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    let username = unique_username();
    let changes =
        json!({ "username": username, "name": "Ada", "avatarUrl": "https://example.com/a.png" });

    let changed = client.update_profile(&account.access, changes).await;
    let kept = client
        .update_profile(&account.access, json!({ "name": "Ada L." }))
        .await;
    let nothing = client.update_profile(&account.access, json!({})).await;
    let cleared = client
        .update_profile(
            &account.access,
            json!({ "username": null, "name": null, "avatarUrl": null }),
        )
        .await;

    assert_eq!(changed.status, 200);
    assert_eq!(
        (&changed["user"]["username"], &changed["user"]["name"]),
        (&json!(username), &json!("Ada"))
    );
    assert_eq!(changed["user"]["avatarUrl"], "https://example.com/a.png");
    assert_eq!(
        (&kept["user"]["username"], &kept["user"]["name"]),
        (&json!(username), &json!("Ada L."))
    );
    assert_eq!(nothing["user"]["name"], "Ada L.");
    for field in ["username", "name", "avatarUrl"] {
        assert_eq!(cleared["user"][field], Value::Null, "{field}");
    }
    let profile = client.profile(&account.access).await;
    assert_eq!(profile["user"], cleared["user"]);
    assert!(profile["user"]["updatedAt"].as_str() > profile["user"]["createdAt"].as_str());
}

#[tokio::test]
async fn all_broken_fields_are_reported_and_nothing_is_changed() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    let changes = json!({ "username": "no!", "name": "\u{7}", "avatarUrl": "http://example.com", "email": "b@example.com", "role": "admin" });

    let answer = client.update_profile(&account.access, changes).await;

    assert_eq!(answer.code(), "validation_failed");
    assert!(
        answer.names(&["avatarUrl", "email", "name", "role", "username"]),
        "{answer:?}"
    );
    assert_eq!(
        answer.messages("email"),
        ["cannot be changed; register with the new address"]
    );
    let user = &client.profile(&account.access).await["user"].clone();
    assert_eq!(
        (&user["email"], &user["username"]),
        (&json!(account.email), &json!(account.username))
    );
}

#[tokio::test]
async fn a_rename_moves_the_claim() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    let new = unique_username();
    let taken = |name: &str| json!({ "email": unique_email(), "username": name, "password": unique_password() });

    let renamed = client
        .update_profile(&account.access, json!({ "username": new }))
        .await;
    let old_is_free = client
        .post("/api/auth/register", taken(&account.username))
        .await;
    let new_is_taken = client
        .post("/api/auth/register", taken(&new.to_uppercase()))
        .await;
    let by_new = client
        .post(
            "/api/auth/login",
            json!({ "username": new, "password": account.password }),
        )
        .await;
    let by_old = client
        .post(
            "/api/auth/login",
            json!({ "username": account.username, "password": account.password }),
        )
        .await;

    assert_eq!(
        (renamed.status.as_u16(), old_is_free.status.as_u16()),
        (200, 201)
    );
    assert_eq!(new_is_taken.code(), "username_taken");
    assert_eq!(
        (by_new.status.as_u16(), by_old.code()),
        (200, "invalid_credentials")
    );
}

#[tokio::test]
async fn another_spelling_of_the_own_name_and_a_cleared_name_keep_the_claims_right() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;

    let shouted = client
        .update_profile(
            &account.access,
            json!({ "username": account.username.to_uppercase() }),
        )
        .await;
    let cleared = client
        .update_profile(&account.access, json!({ "username": null }))
        .await;
    let stranger = client.register().await;
    let taken_over = client
        .update_profile(&stranger.access, json!({ "username": account.username }))
        .await;
    let back = client
        .update_profile(&account.access, json!({ "username": account.username }))
        .await;

    assert_eq!(shouted["user"]["username"], account.username.to_uppercase());
    assert_eq!(
        (cleared.status.as_u16(), taken_over.status.as_u16()),
        (200, 200)
    );
    assert_eq!((back.status.as_u16(), back.code()), (409, "username_taken"));
}

#[tokio::test]
async fn of_two_renames_to_one_name_exactly_one_wins() {
    let world = World::start();
    let client = world.client();
    let (first, second) = (client.register().await, client.register().await);
    for _ in 0..5 {
        let wanted = json!({ "username": unique_username() });

        let (a, b) = tokio::join!(
            client.update_profile(&first.access, wanted.clone()),
            client.update_profile(&second.access, wanted.clone()),
        );

        let mut codes = [a.code(), b.code()];
        codes.sort_unstable();
        assert_eq!(codes, ["", "username_taken"]);
    }
}

/// Two concurrent changes of one record: neither is lost, and no claim is left behind.
#[tokio::test]
async fn changes_at_once_from_two_tabs_are_both_kept() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    for round in 0..10 {
        let (name, username) = (format!("Ada {round}"), unique_username());

        let (a, b) = tokio::join!(
            client.update_profile(&account.access, json!({ "name": name })),
            client.update_profile(&account.access, json!({ "username": username })),
        );

        assert_eq!((a.status.as_u16(), b.status.as_u16()), (200, 200));
        let user = client.profile(&account.access).await["user"].clone();
        assert_eq!(
            (&user["name"], &user["username"]),
            (&json!(name), &json!(username))
        );
        let claims = world.dynamodb().items("USERNAME#").await;
        let keys: Vec<&str> = claims
            .iter()
            .map(|claim| claim["pk"]["S"].as_str().unwrap())
            .collect();
        assert_eq!(keys, [format!("USERNAME#{}", username.to_lowercase())]);
    }
}

#[tokio::test]
async fn a_profile_needs_a_token_before_anything_else() {
    let world = World::start();
    let client = world.client();

    let get = client.send(client.request(Method::GET, PATH)).await;
    let put = client
        .send(client.request(Method::PUT, PATH).body("nonsense"))
        .await;

    assert_eq!((get.code(), put.code()), ("missing_token", "missing_token"));
}

#[tokio::test]
async fn a_change_is_in_the_audit_log_and_increments_the_version() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;

    client
        .update_profile(&account.access, json!({ "name": "Ada" }))
        .await;

    let audit = world.dynamodb().audit(&account.id).await;
    assert_eq!(
        audit.last().unwrap(),
        &("profile_update".to_owned(), "success".to_owned())
    );
    assert_eq!(
        world.dynamodb().user(&account.id).await["version"]["N"],
        "2"
    );
}
