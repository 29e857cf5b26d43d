//! `GET` and `DELETE /api/auth/sessions`.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::{Client, World, token, until};
use reqwest::Method;
use serde_json::{Value, json};

const PATH: &str = "/api/auth/sessions";

async fn list(client: &Client, access: &str) -> Vec<Value> {
    let answer = client.sessions(access).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer["sessions"].as_array().unwrap().clone()
}

async fn end(client: &Client, access: &str, path: &str) -> String {
    let request = client.request(Method::DELETE, path).bearer_auth(access);
    let answer = client.send(request).await;
    assert_eq!(answer.status == 200, answer.code().is_empty());
    answer.code().to_owned()
}

fn of(sessions: &[Value], is_current: bool) -> Vec<String> {
    let sessions = sessions
        .iter()
        .filter(|session| session["current"] == is_current);
    sessions
        .map(|session| session["id"].as_str().unwrap().to_owned())
        .collect()
}

/// security.md 23.
#[tokio::test]
async fn users_see_where_and_with_what_they_are_signed_in() {
    let Some(world) = World::inside() else { return };
    let (phone, laptop) = (world.client(), world.client());
    let account = phone.register().await;
    let request = laptop.request(Method::POST, "/api/auth/login");
    let body = json!({ "email": account.email, "password": account.password });
    let request = request.header("user-agent", "Laptop/1.0").json(&body);
    let login = laptop.send(request).await;

    let sessions = list(&phone, &account.access).await;

    assert_eq!(sessions.len(), 2);
    let fields: BTreeSet<&str> = sessions[0]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let known = [
        "createdAt",
        "current",
        "id",
        "ip",
        "lastUsedAt",
        "userAgent",
    ];
    assert_eq!(fields, known.into());
    assert_eq!(
        sessions[0]["userAgent"], "Laptop/1.0",
        "the newest session comes first"
    );
    assert_eq!(sessions[0]["ip"], "127.0.1.2");
    assert_eq!(
        (&sessions[0]["current"], &sessions[1]["current"]),
        (&json!(false), &json!(true))
    );
    let from_laptop = list(&laptop, &login.text("accessToken")).await;
    assert_eq!(of(&from_laptop, true), of(&sessions, false));
    // The session's identifier is not a token.
    let id = &of(&sessions, false)[0];
    assert_eq!(phone.profile(id).await.code(), "invalid_token");
    assert_eq!(phone.refresh(id).await.code(), "refresh_token_invalid");
}

#[tokio::test]
async fn address_and_agent_are_those_of_the_last_refresh() {
    let Some(world) = World::inside() else { return };
    let (home, train) = (world.client(), world.client());
    let account = home.register().await;
    let before = list(&home, &account.access).await;
    let request = train.request(Method::POST, "/api/auth/refresh");
    let request = request.header("user-agent", "Train/2.0\tx");
    let answer = train
        .send(request.json(&json!({ "refreshToken": account.refresh })))
        .await;

    let after = list(&train, &answer.text("accessToken")).await;

    assert_eq!(
        (&before[0]["ip"], &after[0]["ip"]),
        (&json!("127.0.1.1"), &json!("127.0.1.2"))
    );
    assert_eq!(
        after[0]["userAgent"], "Train/2.0x",
        "without control characters"
    );
    assert_eq!(before[0]["createdAt"], after[0]["createdAt"]);
    assert!(before[0]["lastUsedAt"].as_str() < after[0]["lastUsedAt"].as_str());
}

#[tokio::test]
async fn one_session_can_be_ended_and_all_others() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(client.login(&account).await);
    }
    let sessions = list(&client, &account.access).await;
    let newest = of(&sessions, false)[0].clone();

    let path = format!("{PATH}/{newest}");
    assert_eq!(end(&client, &account.access, &path).await, "");

    let (access, refresh) = &others[2];
    assert_eq!(client.profile(access).await.code(), "token_revoked");
    assert_eq!(
        client.refresh(refresh).await.code(),
        "refresh_token_invalid"
    );
    assert_eq!(
        end(&client, &account.access, &path).await,
        "not_found",
        "the session is over"
    );
    assert_eq!(client.profile(&others[1].0).await.status, 200);

    assert_eq!(end(&client, &account.access, PATH).await, "");
    for (access, refresh) in &others {
        assert_eq!(client.profile(access).await.code(), "token_revoked");
        assert_eq!(
            client.refresh(refresh).await.code(),
            "refresh_token_invalid"
        );
    }
    let left = list(&client, &account.access).await;
    assert_eq!((left.len(), &left[0]["current"]), (1, &json!(true)));
    let entries = world.dynamodb().audit(&account.id).await.into_iter();
    assert_eq!(
        entries
            .filter(|(event, _)| event == "session_revocation")
            .count(),
        2
    );
    // The current session can be ended as well.
    let path = format!("{PATH}/{}", of(&left, true)[0]);
    assert_eq!(end(&client, &account.access, &path).await, "");
    assert_eq!(
        client.profile(&account.access).await.code(),
        "token_revoked"
    );
}

/// security.md 23.
#[tokio::test]
async fn another_users_session_is_not_there() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let (ada, eve) = (client.register().await, client.register().await);
    let id = of(&list(&client, &ada.access).await, true)[0].clone();

    for id in [id.as_str(), &id.to_lowercase(), "0", "x%20y", "*"] {
        let path = format!("{PATH}/{id}");
        assert_eq!(end(&client, &eve.access, &path).await, "not_found", "{id}");
    }

    assert_eq!(client.profile(&ada.access).await.status, 200);
    assert_eq!(list(&client, &eve.access).await.len(), 1);
}

#[tokio::test]
async fn nobody_without_a_session_sees_or_ends_one() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    client.logout(&account.access).await;

    for (method, path) in [
        (Method::GET, PATH),
        (Method::DELETE, PATH),
        (Method::DELETE, "/api/auth/sessions/x"),
    ] {
        let without = client.send(client.request(method.clone(), path)).await;
        let over = client.request(method, path).bearer_auth(&account.access);

        assert_eq!(without.code(), "missing_token");
        assert_eq!(client.send(over).await.code(), "token_revoked");
    }
}

/// security.md 20.
#[tokio::test]
async fn two_hundred_interleavings_of_refresh_and_revocation_leave_no_usable_token() {
    let Some(world) = World::inside() else { return };
    let (owner, device) = (world.client(), world.client());
    let account = owner.register().await;
    let mut refreshes = 0;
    for round in 0..200 {
        let (access, refresh) = device.login(&account).await;
        let id = token::parts(&access).1["sid"].as_str().unwrap().to_owned();
        let path = match round % 2 {
            0 => PATH.to_owned(),
            _ => format!("{PATH}/{id}"),
        };
        // One of the two has a head start of up to two milliseconds.
        let head_start = Duration::from_micros(round * 20 % 2000);
        let (to_refresh, to_end) = match round / 2 % 2 {
            0 => (Duration::ZERO, head_start),
            _ => (head_start, Duration::ZERO),
        };

        let refreshing = async {
            tokio::time::sleep(to_refresh).await;
            device.refresh(&refresh).await
        };
        let (refreshed, ended) = tokio::join!(refreshing, async {
            tokio::time::sleep(to_end).await;
            end(&owner, &account.access, &path).await
        });

        assert_eq!(ended, "");
        refreshes += u32::from(refreshed.status == 200);
        let last =
            |field: &str, before: &str| refreshed[field].as_str().unwrap_or(before).to_owned();
        let again = device.refresh(&last("refreshToken", &refresh)).await;
        assert_eq!(again.code(), "refresh_token_invalid", "round {round}");
        let profile = device.profile(&last("accessToken", &access)).await;
        assert_eq!(profile.code(), "token_revoked", "round {round}");
    }
    assert!(
        (1..200).contains(&refreshes),
        "each came first at times: {refreshes}"
    );
}

/// Each session of a user ends at its own time, although one key holds all of them.
#[tokio::test]
async fn a_session_that_has_expired_is_over_beside_one_that_lives_longer() {
    let world = World::build().variable("JWT_REFRESH_EXPIRY", "2s").start();
    let Some(world) = world else { return };
    let client = world.client();
    let account = client.register().await;
    let body = json!({ "email": account.email, "password": account.password, "rememberMe": true });
    let remembered = client.post("/api/auth/login", body).await;
    let remembered = remembered.text("accessToken");

    token::wait_until_expired(&account.access).await; // and with it its session

    assert_eq!(
        client.profile(&account.access).await.code(),
        "token_expired"
    );
    until("the session is over", async || {
        list(&client, &remembered).await.len() == 1
    })
    .await;
}
