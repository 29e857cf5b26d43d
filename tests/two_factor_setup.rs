//! `POST /api/auth/2fa/setup`.

use harness::authenticator::{Authenticator, decode_qr_code};
use harness::{Account, Answer, Client, World};
use reqwest::Method;
use serde_json::{Value, json};

const PATH: &str = "/api/auth/2fa/setup";
const VERIFY: &str = "/api/auth/2fa/verify";

async fn set_up(client: &Client, account: &Account, body: Value) -> Answer {
    client.set_up_two_factor(&account.access, body).await
}

/// security.md 31.
#[tokio::test]
async fn the_secret_has_160_bits_is_shown_once_and_kept_encrypted() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;

    let answer = set_up(&client, &account, json!({ "deviceName": "Phone" })).await;

    let url = answer.text("otpauthUrl");
    assert_eq!(decode_qr_code(&answer.text("qrCodeUrl")), url);
    let label = format!(
        "otpauth://totp/Gatehouse:{}?",
        account.email.replace('@', "%40")
    );
    assert!(
        url.starts_with(&label) && url.contains("issuer=Gatehouse"),
        "{url}"
    );
    assert_eq!(Authenticator::scan(&answer).secret_bits(), 160);
    let dump = format!(
        "{:?}",
        world.dynamodb().scan(&world.dynamodb().credentials).await
    );
    assert!(dump.contains(&answer.text("deviceId")) && !dump.contains(&answer.text("secret")));
    // The second factor is off until a code is verified.
    let profile = client.profile(&account.access).await;
    assert_eq!(profile["user"]["twoFactorEnabled"], false);
    assert_eq!(
        profile["twoFactor"],
        json!({ "devices": [], "backupCodesLeft": 0 })
    );
    client.login(&account).await;
    let no_body = client
        .request(Method::POST, PATH)
        .bearer_auth(&account.access);
    assert_eq!(client.send(no_body).await.status, 200);
}

/// security.md 35.
#[tokio::test]
async fn a_further_device_needs_a_factor() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let before = set_up(&client, &account, json!({})).await;
    let (mut app, codes) = client.enrol(&account).await;

    let without = set_up(&client, &account, json!({})).await;
    let wrong = set_up(&client, &account, json!({ "token": "000000" })).await;
    let with_code = json!({ "deviceName": "Tablet", "token": app.next().await });
    let right = set_up(&client, &account, with_code.clone()).await;
    let again = set_up(&client, &account, with_code).await;
    let backup = set_up(&client, &account, json!({ "token": codes[0] })).await;

    assert_eq!(without.code(), "two_factor_required");
    assert_eq!(wrong.code(), "two_factor_invalid");
    assert_eq!(
        (right.status.as_u16(), again.code()),
        (200, "two_factor_invalid")
    );
    assert_eq!(backup.status, 200, "{backup:?}");
    // An authenticator app keeps one entry per issuer and account.
    assert!(!before.text("otpauthUrl").contains("Tablet"));
    let url = right.text("otpauthUrl");
    assert!(url.contains("%28Tablet%29?"), "{url}");
    world.mail(&account.email, "backup code was used").await;
    let mut tablet = Authenticator::scan(&right);
    let body = json!({ "token": tablet.next().await, "deviceId": tablet.device });
    let added = client.verify_two_factor(&account.access, body).await;
    assert!(
        added.status == 200 && added.body.get("backupCodes").is_none(),
        "{added:?}"
    );
    // A device from before the second factor was on needs a factor like any further device.
    let mut old = Authenticator::scan(&before);
    let body = json!({ "token": old.next().await, "deviceId": old.device });
    let slipped = client.verify_two_factor(&account.access, body).await;
    assert_eq!(slipped.code(), "two_factor_required");
    let profile = client.profile(&account.access).await;
    let devices = profile["twoFactor"]["devices"].as_array().unwrap();
    assert_eq!((devices.len(), &devices[1]["name"]), (2, &json!("Tablet")));
    assert_eq!(profile["twoFactor"]["backupCodesLeft"], 9);
}

#[tokio::test]
async fn an_account_has_at_most_five_devices() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let (_, codes) = client.enrol(&account).await;
    for code in &codes[..4] {
        let setup = set_up(&client, &account, json!({ "token": code })).await;
        let mut app = Authenticator::scan(&setup);
        let body = json!({ "token": app.next().await });
        assert_eq!(
            client.verify_two_factor(&account.access, body).await.status,
            200
        );
    }

    let sixth = set_up(&client, &account, json!({ "token": codes[4] })).await;

    assert!(sixth.names(&["deviceName"]), "{sixth:?}");
    let profile = client.profile(&account.access).await;
    assert_eq!(profile["twoFactor"]["devices"].as_array().unwrap().len(), 5);
    assert_eq!(
        profile["twoFactor"]["backupCodesLeft"], 6,
        "the refused setup used up no code"
    );
}

/// security S2: somebody who has found an access token must not be able to lock its owner out.
#[tokio::test]
async fn a_session_that_is_not_recent_needs_the_password() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    world.age_session(&account.access, 11);
    let access = client.refresh(&account.refresh).await.text("accessToken");
    let account = Account { access, ..account };

    let refused = set_up(&client, &account, json!({})).await;
    let wrong = set_up(&client, &account, json!({ "password": "Wrong-7-horse" })).await;
    let body = json!({ "password": account.password });
    let allowed = set_up(&client, &account, body).await;

    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (403, "reauthentication_required"),
        "a refresh is not a recent sign-in"
    );
    assert_eq!(
        (wrong.status.as_u16(), wrong.code()),
        (403, "invalid_credentials")
    );
    assert!(wrong.header("www-authenticate").is_none());
    assert_eq!(allowed.status, 200, "{allowed:?}");
    // The session that set the device up needs no further proof for its first code; another session does.
    let (elsewhere, _) = client.login(&account).await;
    world.age_session(&elsewhere, 11);
    let mut app = Authenticator::scan(&allowed);
    let body = json!({ "token": app.next().await });
    let stolen = client.verify_two_factor(&elsewhere, body.clone()).await;
    assert_eq!(stolen.code(), "reauthentication_required");
    let verified = client.verify_two_factor(&account.access, body).await;
    assert_eq!(verified.status, 200, "{verified:?}");
    // New backup codes and a further device need a factor and the password.
    let code = app.next().await;
    for (path, body) in [
        (VERIFY, json!({ "token": code, "regenerate": true })),
        ("/api/auth/2fa/setup", json!({ "token": code })),
    ] {
        let answer = client.post_as(&account.access, path, body.clone()).await;
        assert_eq!(answer.code(), "reauthentication_required", "{path}");
    }
    let body = json!({ "token": code, "regenerate": true, "password": account.password });
    let renewed = client.verify_two_factor(&account.access, body).await;
    assert_eq!(renewed.status, 200, "{renewed:?}");
}

#[tokio::test]
async fn setups_that_are_never_finished_do_not_pile_up() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let mut last = None;
    for _ in 0..8 {
        last = Some(set_up(&client, &account, json!({})).await);
    }

    let items = world.dynamodb().scan(&world.dynamodb().credentials).await;
    let is_device = |item: &&Value| item["pk"]["S"].as_str().unwrap().starts_with("TOTP#");
    let devices: Vec<&Value> = items.iter().filter(is_device).collect();
    assert_eq!(devices.len(), 5);
    assert!(devices.iter().all(|device| device["ttl"]["N"].is_string()));
    let mut app = Authenticator::scan(&last.unwrap());
    let body = json!({ "token": app.next().await });
    assert_eq!(
        client.verify_two_factor(&account.access, body).await.status,
        200,
        "the newest device is pending"
    );
}

/// If the key is missing or too short, the functions do not start and say so.
#[tokio::test]
async fn without_a_key_the_functions_do_not_start() {
    for (key, problem) in [
        ("", "DATA_ENCRYPTION_KEY is missing"),
        ("short", "DATA_ENCRYPTION_KEY is shorter than 32 bytes"),
    ] {
        let world = World::build().variable("DATA_ENCRYPTION_KEY", key);

        let error = world.try_start().err().expect("an error at the start");

        assert!(error.contains(problem), "{error}");
    }
}

#[tokio::test]
async fn fields_are_checked() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    for (body, field) in [
        (json!({ "deviceName": " " }), "deviceName"),
        (json!({ "deviceName": "a\u{7}b" }), "deviceName"),
        (json!({ "token": "12345" }), "token"),
        (json!({ "secret": "x" }), "secret"),
    ] {
        let answer = set_up(&client, &account, body).await;
        assert!(answer.names(&[field]), "{answer:?}");
    }
}
