//! `POST /api/auth/2fa/disable`.

use harness::authenticator::Authenticator;
use harness::{Account, Answer, Client, World};
use serde_json::{Value, json};

async fn disable(client: &Client, account: &Account, body: Value) -> Answer {
    client.disable_two_factor(&account.access, body).await
}

async fn secrets(world: &World, account: &Account) -> usize {
    let items = world.dynamodb().scan(&world.dynamodb().credentials).await;
    let key = format!("USER#{}", account.id);
    let is_secret = |item: &&Value| item["pk"]["S"] == key && item["sk"]["S"] != "PASSWORD";
    items.iter().filter(is_secret).count()
}

/// security.md 24, 30 and 35.
#[tokio::test]
async fn it_is_off_after_a_right_code_and_nothing_of_it_is_left() {
    let Some(world) = World::inside() else { return };
    for by_backup_code in [false, true] {
        let client = world.client();
        let account = client.register().await;
        assert_eq!(
            disable(&client, &account, json!({ "token": "123456" }))
                .await
                .code(),
            "two_factor_not_enabled"
        );
        let (mut app, codes) = client.enrol(&account).await;
        let body = json!({ "email": account.email, "password": account.password, "twoFactorToken": codes[9] });
        client.post("/api/auth/login", body).await;
        let account = {
            // Using a backup code has ended the first session.
            let body = json!({ "email": account.email, "password": account.password, "twoFactorToken": app.next().await });
            let answer = client.post("/api/auth/login", body).await;
            Account {
                access: answer.text("accessToken"),
                ..account
            }
        };
        app.forget(&world, &account.id).await;
        let body = json!({ "email": account.email, "password": account.password, "twoFactorToken": app.next().await });
        let other = client
            .post("/api/auth/login", body)
            .await
            .text("accessToken");

        let without = disable(&client, &account, json!({})).await;
        let wrong = disable(&client, &account, json!({ "token": "000000" })).await;
        let token = if by_backup_code {
            codes[0].clone()
        } else {
            app.next().await
        };
        let right = disable(&client, &account, json!({ "token": token })).await;

        assert!(without.names(&["token"]));
        assert_eq!(wrong.code(), "two_factor_invalid");
        assert_eq!(right.status, 200, "{right:?}");
        assert_eq!(secrets(&world, &account).await, 0);
        let profile = client.profile(&account.access).await;
        assert_eq!(profile["user"]["twoFactorEnabled"], false);
        assert_eq!(
            profile["twoFactor"],
            json!({ "devices": [], "backupCodesLeft": 0 })
        );
        assert_eq!(client.profile(&other).await.code(), "token_revoked");
        world
            .mail(&account.email, "Two-factor authentication is off")
            .await;
        client.login(&account).await;
    }
}

#[tokio::test]
async fn one_device_can_be_removed_and_with_the_last_one_it_is_off() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let (mut phone, _) = client.enrol(&account).await;
    let setup = json!({ "token": phone.next().await, "deviceName": "Tablet" });
    let setup = client.set_up_two_factor(&account.access, setup).await;
    let mut tablet = Authenticator::scan(&setup);
    let body = json!({ "token": tablet.next().await });
    client.verify_two_factor(&account.access, body).await;

    let unknown = json!({ "token": tablet.next().await, "deviceId": "none" });
    assert_eq!(
        disable(&client, &account, unknown).await.code(),
        "not_found"
    );
    tablet.forget(&world, &account.id).await;
    let code = tablet.next().await;
    let removed = disable(
        &client,
        &account,
        json!({ "token": code, "deviceId": phone.device }),
    )
    .await;

    assert_eq!(removed.status, 200, "{removed:?}");
    let profile = client.profile(&account.access).await;
    assert_eq!(profile["user"]["twoFactorEnabled"], true);
    assert_eq!(profile["twoFactor"]["devices"][0]["name"], "Tablet");
    assert_eq!(profile["twoFactor"]["backupCodesLeft"], 10);
    let again = json!({ "token": code, "deviceId": tablet.device });
    assert_eq!(
        disable(&client, &account, again).await.code(),
        "two_factor_invalid",
        "the code was used"
    );
    // With the device's own code.
    let last = json!({ "token": tablet.next().await, "deviceId": tablet.device });
    assert_eq!(disable(&client, &account, last).await.status, 200);
    let profile = client.profile(&account.access).await;
    assert_eq!(profile["user"]["twoFactorEnabled"], false);
    assert_eq!(secrets(&world, &account).await, 0);
}

/// The secrets of a deleted account are deleted with it.
#[tokio::test]
async fn with_the_account_its_second_factor_goes() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let (_, codes) = client.enrol(&account).await;
    let without = json!({ "password": account.password });
    let wrong = json!({ "password": account.password, "twoFactorToken": "000000" });
    for (body, code) in [
        (without, "two_factor_required"),
        (wrong, "two_factor_invalid"),
    ] {
        let refused = client
            .delete_as(&account.access, "/api/auth/profile", body)
            .await;
        assert_eq!((refused.status.as_u16(), refused.code()), (403, code));
    }

    let body = json!({ "password": account.password, "twoFactorToken": codes[0] });
    let deleted = client
        .delete_as(&account.access, "/api/auth/profile", body)
        .await;

    assert_eq!(deleted.status, 200, "{deleted:?}");
    let items = world.dynamodb().scan(&world.dynamodb().credentials).await;
    assert_eq!(items.len(), 11, "the used code is deleted at once");
    assert!(
        items.iter().all(|item| item["ttl"]["N"].is_string()),
        "{items:?}"
    );
}
