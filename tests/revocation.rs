//! The write of a change itself ends sessions, whatever fails after it (security L2).

use harness::client::unique_password;
use harness::peers::TcpProxy;
use harness::{Account, Answer, Client, World, until};
use reqwest::Method;
use serde_json::{Value, json};

/// Makes a change whose write is so slow that the request has given up when it is done. Starts sessions meanwhile, with
/// the old credentials; the change must end them. Returns the answer and the tokens of the sessions.
async fn sign_in_during_slow_write<F>(
    world: &World,
    proxy: &TcpProxy,
    account: &Account,
    written: &'static str,
    change: F,
) -> (Answer, Vec<(String, String)>)
where
    F: Future<Output = Answer> + Send + 'static,
{
    proxy.hold_back(written, 0);
    let changing = tokio::spawn(change);
    proxy.wait_until_held().await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(world.client().login(account).await);
    }
    let answer = changing.await.unwrap();
    proxy.release();
    (answer, sessions)
}

async fn assert_ended(client: &Client, sessions: &[(String, String)]) {
    for (access, refresh) in sessions {
        let profile = client.profile(access).await;
        assert_eq!(profile.code(), "token_revoked", "{profile:?}");
        let refreshed = client.refresh(refresh).await;
        assert_eq!(refreshed.code(), "refresh_token_invalid", "{refreshed:?}");
    }
}

async fn wait_for_mail(world: &World, account: &Account, kind: &str) {
    let sent = async || world.mails(kind, &account.email).await == 1;
    until("the write", sent).await;
}

#[tokio::test]
async fn no_session_of_the_old_password_outlives_a_reset_whose_write_is_slow() {
    let Some((world, proxy)) = World::build().behind_dynamodb_proxy().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let body = json!({ "email": account.email });
    client.post("/api/auth/password-reset/request", body).await;
    let token = world.mailed_token("reset_password", &account.email).await;
    let new = unique_password();
    let body = json!({ "token": token, "newPassword": new });

    let change = async move { client.post("/api/auth/password-reset/confirm", body).await };
    let written = "password_was_reset";
    let (answer, sessions) =
        sign_in_during_slow_write(&world, &proxy, &account, written, change).await;

    assert_eq!(answer.code(), "service_unavailable", "{answer:?}");
    wait_for_mail(&world, &account, written).await;
    assert_ended(&world.client(), &sessions).await;
    let body = json!({ "email": account.email, "password": new });
    let login = world.client().post("/api/auth/login", body).await;
    assert_eq!(login.status, 200, "{login:?}");
}

#[tokio::test]
async fn no_session_of_the_old_password_outlives_a_change_whose_write_is_slow() {
    let Some((world, proxy)) = World::build().behind_dynamodb_proxy().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let body = json!({ "currentPassword": account.password, "newPassword": unique_password() });

    let access = account.access.clone();
    let change = async move { client.change_password(&access, body).await };
    let written = "password_changed";
    let (answer, sessions) =
        sign_in_during_slow_write(&world, &proxy, &account, written, change).await;

    assert_eq!(answer.code(), "service_unavailable", "{answer:?}");
    wait_for_mail(&world, &account, written).await;
    assert_ended(&world.client(), &sessions).await;
    let own = world.client().profile(&account.access).await;
    assert_eq!(
        own.status, 200,
        "the session that made the change continues: {own:?}"
    );
}

#[tokio::test]
async fn no_session_without_a_second_factor_outlives_its_start_whose_write_is_slow() {
    let Some((world, proxy)) = World::build().behind_dynamodb_proxy().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let setup = client.set_up_two_factor(&account.access, json!({})).await;
    let mut app = harness::Authenticator::scan(&setup);
    let body = json!({ "token": app.next().await });

    let access = account.access.clone();
    let change = async move { client.verify_two_factor(&access, body).await };
    let written = "two_factor_on";
    let (answer, sessions) =
        sign_in_during_slow_write(&world, &proxy, &account, written, change).await;

    assert_eq!(answer.code(), "service_unavailable", "{answer:?}");
    wait_for_mail(&world, &account, written).await;
    assert_ended(&world.client(), &sessions).await;
}

/// A stolen session changes the password while the owner undoes the second factor: the later write is refused.
#[tokio::test]
async fn a_change_that_is_under_way_does_not_outlive_the_end_of_its_session() {
    let Some((world, proxy)) = World::build().behind_dynamodb_proxy().await else {
        return;
    };
    let (client, owner) = (world.client(), world.client());
    let account = client.register().await;
    let (_, codes) = client.enrol(&account).await;
    let undo = world.mailed_token("two_factor_on", &account.email).await;
    let stolen = unique_password();
    let body = json!({ "currentPassword": account.password, "newPassword": stolen, "twoFactorToken": codes[0] });
    proxy.hold_back("password_changed", 0);
    let (thief, access) = (client.clone(), account.access.clone());
    let changing = tokio::spawn(async move {
        let path = "/api/auth/change-password";
        thief.post_as(&access, path, body).await
    });
    proxy.wait_until_held().await;

    let undone = owner.undo_two_factor(&undo).await;
    assert_eq!(undone.status, 200, "{undone:?}");
    proxy.release();

    let changed = changing.await.unwrap();
    assert_ne!(changed.status, 200, "{changed:?}");
    let reset = world.mailed_token("reset_password", &account.email).await;
    let new = unique_password();
    let body = json!({ "token": reset, "newPassword": new });
    let confirmed = owner.post("/api/auth/password-reset/confirm", body).await;
    assert_eq!(
        confirmed.status, 200,
        "the reset link still works: {confirmed:?}"
    );
    let login = owner.try_login(&account.email, &new).await;
    assert_eq!(login.status, 200, "{login:?}");
    assert_eq!(
        client.profile(&account.access).await.code(),
        "token_revoked"
    );
    assert_eq!(world.mails("password_changed", &account.email).await, 0);
}

/// Redis is down for everything after the write; the user's record ends the sessions.
#[tokio::test]
async fn a_reset_needs_no_redis_to_end_sessions_once_its_link_is_read() {
    let Some((world, proxy, _redis)) = World::build().behind_redis_proxy().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let body = json!({ "email": account.email });
    client.post("/api/auth/password-reset/request", body).await;
    let token = world.mailed_token("reset_password", &account.email).await;
    // The keys of the script that removes sessions contain this text; those of the script that reads the link do not.
    proxy.hold_back("devices:{", 0);
    let body = json!({ "token": token, "newPassword": unique_password() });

    let answer = client.post("/api/auth/password-reset/confirm", body).await;
    proxy.release();

    assert_eq!(answer.status, 200, "{answer:?}");
    let session = (account.access, account.refresh);
    assert_ended(&world.client(), &[session]).await;
}

async fn sessions(client: &Client, access: &str) -> Answer {
    client.sessions(access).await
}

async fn try_from(client: &Client, token: &str, account: &Account, password: &str) -> Answer {
    let body = json!({ "email": account.email, "password": password });
    let request = client.request(Method::POST, "/api/auth/login");
    let request = request.header("x-device-token", token);
    client.send(request.json(&body)).await
}

/// security L4.
#[tokio::test]
async fn device_tokens_end_with_a_new_password_and_with_all_devices_and_are_listed() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let thief = client.try_login(&account.email, &account.password).await;
    let (stolen, first) = (thief.text("deviceToken"), thief);
    let listed = sessions(&client, &account.access).await;
    assert_eq!(listed["devices"].as_array().unwrap().len(), 2, "{listed:?}");
    assert!(first["deviceToken"].is_string());

    let new = unique_password();
    let body = json!({ "currentPassword": account.password, "newPassword": new });
    let changed = client.change_password(&account.access, body).await;

    assert_eq!(changed.status, 200, "{changed:?}");
    let own = changed.text("deviceToken");
    let listed = sessions(&client, &account.access).await;
    assert_eq!(listed["devices"].as_array().unwrap().len(), 1, "{listed:?}");
    let mails = world.mails("new_device", &account.email).await;
    let mut known = account.clone();
    known.password = new.clone();
    let silent = try_from(&world.client(), &own, &known, &new).await;
    assert_eq!(silent.status, 200);
    assert_eq!(world.mails("new_device", &account.email).await, mails);
    let told = try_from(&world.client(), &stolen, &known, &new).await;
    assert_eq!(told.status, 200);
    assert_eq!(world.mails("new_device", &account.email).await, mails + 1);

    let body = json!({ "allDevices": true });
    let out = client
        .post_as(&silent.text("accessToken"), "/api/auth/logout", body)
        .await;
    assert_eq!(out.status, 200, "{out:?}");
    let anew = try_from(&world.client(), &own, &known, &new).await;
    assert_eq!(anew.status, 200);
    assert_eq!(world.mails("new_device", &account.email).await, mails + 2);
}

/// security L4.
#[tokio::test]
async fn an_account_has_ten_devices_and_one_can_be_ended() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let mut tokens = Vec::new();
    for _ in 0..12 {
        let body = json!({ "email": account.email, "password": account.password });
        tokens.push(client.post("/api/auth/login", body).await);
    }
    let access = tokens[11].text("accessToken");
    let listed = sessions(&client, &access).await;
    let ids: Vec<&Value> = listed["devices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|device| &device["id"])
        .collect();
    assert_eq!(ids.len(), 10, "{listed:?}");

    let path = format!("/api/auth/sessions/{}", ids[0].as_str().unwrap());
    let ended = client
        .send(client.request(Method::DELETE, &path).bearer_auth(&access))
        .await;

    assert_eq!(ended.status, 200, "{ended:?}");
    let listed = sessions(&client, &access).await;
    assert_eq!(listed["devices"].as_array().unwrap().len(), 9);
    let twice = client
        .send(client.request(Method::DELETE, &path).bearer_auth(&access))
        .await;
    assert_eq!(twice.code(), "not_found");
    // Strangers lock the address. A valid device has a counter of its own; a removed one has none.
    for _ in 0..5 {
        let body = json!({ "email": account.email, "password": "Wrong-7-horse" });
        world.client().post("/api/auth/login", body).await;
    }
    let password = &account.password;
    let (over, good) = (
        tokens[11].text("deviceToken"),
        tokens[10].text("deviceToken"),
    );
    let locked = try_from(&world.client(), &over, &account, password).await;
    assert_eq!(locked.code(), "account_locked");
    let beyond = try_from(
        &world.client(),
        &tokens[0].text("deviceToken"),
        &account,
        password,
    )
    .await;
    assert_eq!(
        beyond.code(),
        "account_locked",
        "the oldest device was removed"
    );
    assert_eq!(
        try_from(&world.client(), &good, &account, password)
            .await
            .status,
        200
    );
}

/// security L5.
#[tokio::test]
async fn a_successor_that_is_handed_out_again_elsewhere_is_on_record_and_mailed_once() {
    let Some(world) = World::inside() else { return };
    let (owner, thief) = (world.client(), world.client());
    let account = owner.register().await;
    let (mut current, mut copied) = (account.refresh.clone(), account.refresh.clone());

    for _ in 0..3 {
        current = owner.refresh(&current).await.text("refreshToken");
        copied = thief.refresh(&copied).await.text("refreshToken");
        assert_eq!(current, copied, "the same successor");
    }

    let audit = world.dynamodb().audit(&account.id).await;
    let entry = ("refresh_token_repeated".to_owned(), "success".to_owned());
    assert_eq!(
        audit.iter().filter(|other| **other == entry).count(),
        3,
        "{audit:?}"
    );
    assert_eq!(
        world.mails("session_used_elsewhere", &account.email).await,
        1
    );
    // The same client, repeating a request whose answer was lost, is not somebody else.
    let other = owner.register().await;
    for _ in 0..2 {
        owner.refresh(&other.refresh).await;
    }
    assert_eq!(world.mails("session_used_elsewhere", &other.email).await, 0);
}
