//! `POST /api/auth/2fa/verify`.

use std::collections::BTreeSet;

use harness::authenticator::{Authenticator, step};
use harness::{Account, Answer, Client, World};
use serde_json::{Value, json};

async fn verify(client: &Client, account: &Account, body: Value) -> Answer {
    client.verify_two_factor(&account.access, body).await
}

async fn set_up(client: &Client, account: &Account) -> Authenticator {
    let setup = client.set_up_two_factor(&account.access, json!({})).await;
    Authenticator::scan(&setup)
}

/// security.md 24, 30 and 34.
#[tokio::test]
async fn with_the_first_code_it_is_on_and_the_other_sessions_are_over() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let (other, _) = client.login(&account).await;

    let (app, codes) = client.enrol(&account).await;

    let profile = client.profile(&account.access).await;
    assert_eq!(profile["user"]["twoFactorEnabled"], true);
    let device = &profile["twoFactor"]["devices"][0];
    assert_eq!(
        (&device["id"], &device["name"]),
        (&json!(app.device), &json!("Authenticator"))
    );
    assert!(device["confirmedAt"].is_string());
    assert_eq!(profile["twoFactor"]["backupCodesLeft"], 10);
    assert_eq!(client.profile(&other).await.code(), "token_revoked");
    world
        .mail(&account.email, "Two-factor authentication is on")
        .await;
    let distinct: BTreeSet<&String> = codes.iter().collect();
    assert!(
        distinct.len() == 10 && codes.iter().all(|code| code.len() == 19),
        "{codes:?}"
    );
    let dump = format!(
        "{:?}",
        world.dynamodb().scan(&world.dynamodb().credentials).await
    );
    for code in &codes {
        assert!(!dump.contains(code.as_str()) && !dump.contains(&code.replace('-', "")));
    }
    let entries = world.dynamodb().audit(&account.id).await;
    for event in ["two_factor_setup", "two_factor_verify"] {
        assert!(
            entries.contains(&(event.to_owned(), "success".to_owned())),
            "{entries:?}"
        );
    }
}

#[tokio::test]
async fn a_wrong_code_leaves_it_off_and_what_is_not_there_is_said() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;

    let nothing = verify(&client, &account, json!({ "token": "123456" })).await;
    assert_eq!(nothing.code(), "two_factor_not_enabled");
    let mut app = set_up(&client, &account).await;
    let wrong = app.code(step() + 5);
    let wrong = verify(&client, &account, json!({ "token": wrong })).await;
    assert_eq!(wrong.code(), "two_factor_invalid");
    let unknown = json!({ "token": "123456", "deviceId": "none" });
    assert_eq!(verify(&client, &account, unknown).await.code(), "not_found");
    for malformed in ["", "12345", "1234567", "1234 5", "123.456", "abcdef"] {
        let answer = verify(&client, &account, json!({ "token": malformed })).await;
        assert!(answer.names(&["token"]), "{malformed}: {answer:?}");
    }
    let profile = client.profile(&account.access).await;
    assert_eq!(profile["user"]["twoFactorEnabled"], false);

    let right = json!({ "token": app.next().await, "deviceId": app.device });
    assert_eq!(verify(&client, &account, right.clone()).await.status, 200);
    let again = verify(&client, &account, right).await;
    assert_eq!(again.code(), "two_factor_already_enabled");
    let newest = verify(&client, &account, json!({ "token": "123456" })).await;
    assert_eq!(
        newest.code(),
        "two_factor_already_enabled",
        "no device is pending"
    );
}

/// Two devices at once: one of them turns the second factor on, and there is one set of backup codes.
#[tokio::test]
async fn of_two_devices_that_verify_at_once_one_turns_it_on() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    for _ in 0..5 {
        let account = client.register().await;
        let (mut first, mut second) = (
            set_up(&client, &account).await,
            set_up(&client, &account).await,
        );
        let body =
            |code: String, app: &Authenticator| json!({ "token": code, "deviceId": app.device });
        let (one, other) = (first.next().await, second.next().await);

        let (one, other) = tokio::join!(
            verify(&client, &account, body(one, &first)),
            verify(&client, &account, body(other, &second)),
        );

        let mut codes = [one.code(), other.code()];
        codes.sort_unstable();
        assert_eq!(codes, ["", "two_factor_required"]);
        let sets = [&one, &other].into_iter();
        assert_eq!(
            sets.filter(|answer| answer.body.get("backupCodes").is_some())
                .count(),
            1
        );
        let profile = client.profile(&account.access).await;
        assert_eq!(profile["twoFactor"]["devices"].as_array().unwrap().len(), 1);
        let items = world.dynamodb().scan(&world.dynamodb().credentials).await;
        let of_account = format!("CODE#{}", account.id);
        let is_code = |item: &&Value| item["pk"]["S"] == of_account;
        assert_eq!(items.iter().filter(is_code).count(), 10);
    }
}

/// security.md 34.
#[tokio::test]
async fn regenerated_backup_codes_void_the_old_ones() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let off = json!({ "token": "123456", "regenerate": true });
    assert_eq!(
        verify(&client, &account, off.clone()).await.code(),
        "two_factor_not_enabled"
    );
    let (mut app, old) = client.enrol(&account).await;

    let backup = verify(
        &client,
        &account,
        json!({ "token": old[0], "regenerate": true }),
    )
    .await;
    let wrong = verify(&client, &account, off).await;
    let code = json!({ "token": app.next().await, "regenerate": true });
    let renewed = verify(&client, &account, code.clone()).await;
    let again = verify(&client, &account, code).await;

    assert!(
        backup.names(&["token"]),
        "only a device's code is accepted: {backup:?}"
    );
    assert_eq!(wrong.code(), "two_factor_invalid");
    assert_eq!(again.code(), "two_factor_invalid", "a code works once");
    let new: Vec<&str> = renewed["backupCodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(new.len() == 10 && old.iter().all(|code| !new.contains(&code.as_str())));
    let login = async |code: &str| {
        let body =
            json!({ "email": account.email, "password": account.password, "twoFactorToken": code });
        client.post("/api/auth/login", body).await.code().to_owned()
    };
    assert_eq!(login(&old[0]).await, "two_factor_invalid");
    assert_eq!(login(new[0]).await, "");
}
