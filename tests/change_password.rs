//! `POST /api/auth/change-password`.

use harness::client::unique_password;
use harness::{Account, Answer, Client, World};
use serde_json::json;

const PATH: &str = "/api/auth/change-password";

async fn change(client: &Client, account: &Account, current: &str, new: &str) -> Answer {
    let body = json!({ "currentPassword": current, "newPassword": new });
    client.change_password(&account.access, body).await
}

async fn login(client: &Client, account: &Account, password: &str) -> Answer {
    let body = json!({ "email": account.email, "password": password });
    client.post("/api/auth/login", body).await
}

/// security.md 24.
#[tokio::test]
async fn the_new_password_signs_in_and_only_this_session_goes_on() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    let (other_access, other_refresh) = client.login(&account).await;
    let new = unique_password();

    let answer = change(&client, &account, &account.password, &new).await;

    assert_eq!(answer.status, 200);
    let old = login(&client, &account, &account.password).await;
    assert_eq!(old.code(), "invalid_credentials");
    assert_eq!(login(&client, &account, &new).await.status, 200);
    assert_eq!(client.profile(&account.access).await.status, 200);
    assert_eq!(client.refresh(&account.refresh).await.status, 200);
    assert_eq!(client.profile(&other_access).await.code(), "token_revoked");
    let other = client.refresh(&other_refresh).await;
    assert_eq!(other.code(), "refresh_token_invalid");
}

#[tokio::test]
async fn a_wrong_current_password_changes_nothing_and_is_recorded() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let (other, _) = client.login(&account).await;

    let answer = change(&client, &account, "Wrong-7-horse", &unique_password()).await;

    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (403, "invalid_credentials")
    );
    client.login(&account).await;
    assert_eq!(client.profile(&other).await.status, 200);
    let audit = world.dynamodb().audit(&account.id).await;
    assert!(
        audit.contains(&("password_change".to_owned(), "failure".to_owned())),
        "{audit:?}"
    );
    assert_eq!(world.mails("password_changed", &account.email).await, 0);
}

/// security.md 3.
#[tokio::test]
async fn the_rules_for_passwords_hold_and_the_old_one_is_no_new_one() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    let current = account.password.clone();
    for (new, reason) in [
        ("Short1x", "must be at least 8 characters long"),
        ("Password123", "is one of the most common passwords"),
        (account.email.as_str(), "must not be the email address"),
        (account.username.as_str(), "must not be the username"),
        (current.as_str(), "must not be the current password"),
    ] {
        let answer = change(&client, &account, &current, new).await;

        assert!(answer.names(&["newPassword"]), "{answer:?}");
        assert!(
            answer.messages("newPassword").contains(&reason),
            "{new}: {answer:?}"
        );
    }
    client.login(&account).await;
}

/// security.md 27 and 30.
#[tokio::test]
async fn the_owner_gets_a_mail_and_a_reset_link_on_its_way_is_void() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let reset = json!({ "email": account.email });
    client.post("/api/auth/password-reset/request", reset).await;
    let token = world.mailed_token("reset_password", &account.email).await;
    let new = unique_password();

    change(&client, &account, &account.password, &new).await;

    let body = json!({ "token": token, "newPassword": unique_password() });
    let late = client.post("/api/auth/password-reset/confirm", body).await;
    assert_eq!(late.code(), "invalid_reset_token");
    assert_eq!(login(&client, &account, &new).await.status, 200);
    assert_eq!(world.mails("password_changed", &account.email).await, 1);
    let audit = world.dynamodb().audit(&account.id).await;
    assert!(
        audit.contains(&("password_change".to_owned(), "success".to_owned())),
        "{audit:?}"
    );
}

#[tokio::test]
async fn of_two_changes_at_once_exactly_one_wins() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    let (first, second) = (unique_password(), unique_password());

    let (a, b) = tokio::join!(
        change(&client, &account, &account.password, &first),
        change(&client, &account, &account.password, &second),
    );

    let mut codes = [a.code(), b.code()];
    codes.sort_unstable();
    assert_eq!(codes, ["", "invalid_credentials"]);
    let winner = if a.status == 200 { first } else { second };
    assert_eq!(login(&client, &account, &winner).await.status, 200);
}

#[tokio::test]
async fn a_change_needs_a_token_and_both_passwords() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;

    let no_token = client.post(PATH, json!({})).await;
    let nothing = client.change_password(&account.access, json!({})).await;

    assert_eq!(no_token.code(), "missing_token");
    assert!(
        nothing.names(&["currentPassword", "newPassword"]),
        "{nothing:?}"
    );
}
