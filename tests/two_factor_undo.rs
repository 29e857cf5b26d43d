//! `POST /api/auth/2fa/undo`.

use harness::World;
use harness::client::unique_password;
use serde_json::json;

/// security S2: somebody who has found an access token of a recent sign-in turns the second factor on; the owner takes
/// it off again.
#[tokio::test]
async fn the_mail_about_a_second_factor_takes_it_off_and_leads_to_a_new_password() {
    let Some(world) = World::inside() else { return };
    let (client, thief) = (world.client(), world.client());
    let account = client.register().await;
    let (app, _) = thief.enrol(&account).await;
    let undo = world.mailed_token("two_factor_on", &account.email).await;

    let undone = client.undo_two_factor(&undo).await;

    assert_eq!(undone.status, 200, "{undone:?}");
    let stolen = thief.profile(&account.access).await;
    assert_eq!(stolen.code(), "token_revoked", "every session is over");
    assert_eq!(
        thief.refresh(&account.refresh).await.code(),
        "refresh_token_invalid"
    );
    // The old password does not sign anybody in, with or without the code.
    for code in [None, Some(app.code(harness::authenticator::step()))] {
        let mut body = json!({ "email": account.email, "password": account.password });
        if let Some(code) = code {
            body["twoFactorToken"] = code.into();
        }
        let login = thief.post("/api/auth/login", body).await;
        assert_eq!(
            (login.status.as_u16(), login.code()),
            (403, "password_reset_required")
        );
    }
    let reset = world.mailed_token("reset_password", &account.email).await;
    let new = unique_password();
    let body = json!({ "token": reset, "newPassword": new });
    let confirmed = client.post("/api/auth/password-reset/confirm", body).await;
    assert_eq!(confirmed.status, 200, "{confirmed:?}");
    let login = client.try_login(&account.email, &new).await;
    assert_eq!(login.status, 200, "{login:?}");
    assert_eq!(login["user"]["twoFactorEnabled"], false);
    let left =
        world.dynamodb().items("TOTP#").await.len() + world.dynamodb().items("CODE#").await.len();
    assert_eq!(left, 0, "no data of the second factor is left");
}

#[tokio::test]
async fn an_undo_link_works_once_and_not_after_the_second_factor_is_off() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    client.enrol(&account).await;
    let undo = world.mailed_token("two_factor_on", &account.email).await;

    let answers =
        futures_util::future::join_all((0..8).map(|_| client.undo_two_factor(&undo))).await;

    let done = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(done, 1, "{answers:?}");
    let refused = answers.iter().filter(|answer| answer.status != 200);
    for answer in refused {
        assert!(
            ["invalid_verification_token", "service_unavailable"].contains(&answer.code()),
            "{answer:?}"
        );
    }

    let other = client.register().await;
    let (mut app, _) = client.enrol(&other).await;
    let undo = world.mailed_token("two_factor_on", &other.email).await;
    let body = json!({ "token": app.next().await });
    let off = client.disable_two_factor(&other.access, body).await;
    assert_eq!(off.status, 200, "{off:?}");
    let late = client.undo_two_factor(&undo).await;
    assert_eq!(
        (late.status.as_u16(), late.code()),
        (400, "invalid_verification_token")
    );
}

/// Turning the second factor on and off repeatedly does not keep a working link from the owner.
#[tokio::test]
async fn every_mail_about_it_comes_with_a_link_that_works() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    for _ in 0..4 {
        let (_, codes) = client.enrol(&account).await;
        let body = json!({ "token": codes[0] });
        let off = client.disable_two_factor(&account.access, body).await;
        assert_eq!(off.status, 200, "{off:?}");
    }
    client.enrol(&account).await;
    let undo = world.mailed_token("two_factor_on", &account.email).await;

    let is_sent = async || {
        let mails = world.local().mails();
        mails.iter().any(|mail| mail.text.contains(&undo))
    };
    harness::until("the fifth mail", is_sent).await;

    let undone = client.undo_two_factor(&undo).await;
    assert_eq!(undone.status, 200, "{undone:?}");
}

#[tokio::test]
async fn an_undo_link_works_for_72_hours() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    client.enrol(&account).await;
    let undo = world.mailed_token("two_factor_on", &account.email).await;
    let items = world.dynamodb().items("UNDO#").await;
    let ttl: u64 = items[0]["ttl"]["N"].as_str().unwrap().parse().unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs();
    assert!(ttl.abs_diff(now + 72 * 3600) < 60);

    let (table, key) = (
        world.dynamodb().users.clone(),
        items[0]["pk"]["S"].as_str().unwrap().to_owned(),
    );
    let past = json!({ "S": "2020-01-01T00:00:00.000Z" });
    world
        .dynamodb()
        .set(&table, &key, "TOKEN", "expires_at", past)
        .await;

    let late = client.undo_two_factor(&undo).await;
    assert_eq!(late.code(), "invalid_verification_token");
    let other_kind = client
        .post("/api/auth/verify-email", json!({ "token": undo }))
        .await;
    assert_eq!(other_kind.code(), "invalid_verification_token");
}
