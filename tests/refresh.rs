//! `POST /api/auth/refresh`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::{World, token};
use serde_json::json;

#[tokio::test]
async fn a_refresh_gives_new_tokens_alone() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;

    let answer = client.refresh(&account.refresh).await;

    assert_eq!(answer.status, 200);
    let fields: BTreeSet<&str> = answer
        .body
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let expected = [
        "success",
        "message",
        "accessToken",
        "refreshToken",
        "tokenType",
        "expiresIn",
        "refreshExpiresIn",
    ];
    assert_eq!(fields, BTreeSet::from(expected));
    assert_ne!(answer.text("refreshToken"), account.refresh);
    assert_ne!(answer.text("accessToken"), account.access);
    assert_eq!(
        client.profile(&answer.text("accessToken")).await.status,
        200
    );
    assert_eq!(
        client.refresh(&answer.text("refreshToken")).await.status,
        200
    );
}

/// A lost answer, or a second tab; security.md 19.
#[tokio::test]
async fn the_token_just_replaced_returns_the_very_same_successor() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;

    let first = client.refresh(&account.refresh).await;
    let again = client.refresh(&account.refresh).await;

    assert_eq!(first.text("refreshToken"), again.text("refreshToken"));
    assert_eq!(client.profile(&again.text("accessToken")).await.status, 200);
    assert_eq!(
        client.refresh(&again.text("refreshToken")).await.status,
        200
    );
}

/// security.md 19.
#[tokio::test]
async fn a_token_two_behind_ends_the_session() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    let second = client.refresh(&account.refresh).await;
    let third = client.refresh(&second.text("refreshToken")).await;

    let reused = client.refresh(&account.refresh).await;

    assert_eq!(
        (reused.status.as_u16(), reused.code()),
        (401, "refresh_token_reused")
    );
    assert_eq!(
        client.refresh(&third.text("refreshToken")).await.code(),
        "refresh_token_invalid"
    );
    assert_eq!(
        client.refresh(&account.refresh).await.code(),
        "refresh_token_invalid"
    );
    assert_eq!(
        client.profile(&third.text("accessToken")).await.code(),
        "token_revoked"
    );
}

/// security.md 19.
#[tokio::test]
async fn after_the_grace_also_one_behind_is_reuse_and_is_recorded() {
    let Some(world) = World::build().variable("REFRESH_GRACE", "0s").start() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let other_session = client.login(&account).await;
    let successor = client.refresh(&account.refresh).await;
    token::wait_for_next_millisecond(); // the grace of 0 s is over

    let reused = client.refresh(&account.refresh).await;

    assert_eq!(reused.code(), "refresh_token_reused");
    assert_eq!(
        client.refresh(&successor.text("refreshToken")).await.code(),
        "refresh_token_invalid"
    );
    assert_eq!(
        client.profile(&other_session.0).await.status,
        200,
        "other sessions continue"
    );
    let audit = world.dynamodb().audit(&account.id).await;
    assert!(
        audit.contains(&("refresh_token_reuse".to_owned(), "failure".to_owned())),
        "{audit:?}"
    );
    assert!(
        world
            .log()
            .iter()
            .any(|line| line.get("RefreshTokenReuse").is_some())
    );
}

/// security.md 19.
#[tokio::test]
async fn fifty_refreshes_of_one_token_at_once_make_exactly_one_successor() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    // Fifty functions that start at once take longer than the grace period on a busy machine. From here on, they run.
    let fifty_at_once = async |token: &str| {
        let tries = (0..50).map(|_| {
            let client = world.client().patient();
            async move { client.refresh(token).await }
        });
        join_all(tries).await
    };
    fifty_at_once("no token").await;

    let answers = fifty_at_once(&account.refresh).await;

    let is_late = answers.iter().any(|answer| answer.was_repeated);
    let mut successors = BTreeSet::new();
    for answer in answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        successors.insert(answer.text("refreshToken"));
    }
    // A rotation that was too late is taken back, and its successor is made anew, with another time.
    assert!(successors.len() == 1 || is_late);
    let (_, before) = token::parts(&account.refresh);
    for successor in &successors {
        let (_, after) = token::parts(successor);
        assert_eq!(
            after["counter"].as_u64(),
            before["counter"].as_u64().map(|counter| counter + 1)
        );
    }
    assert_eq!(
        client.refresh(successors.first().unwrap()).await.status,
        200
    );
}

#[tokio::test]
async fn two_hundred_interleavings_of_refresh_and_logout_leave_no_usable_token() {
    let world = World::start();
    let (refresher, leaver) = (world.client().patient(), world.client().patient());
    let account = refresher.register().await;
    let mut refreshes = 0;
    for round in 0..200 {
        let (access, refresh) = if round == 0 {
            (account.access.clone(), account.refresh.clone())
        } else {
            refresher.login(&account).await
        };
        let delay = Duration::from_micros(round * 20 % 2000);
        let all_devices = round % 2 == 0;

        let (refreshed, left) = tokio::join!(refresher.refresh(&refresh), async {
            tokio::time::sleep(delay).await;
            leaver
                .post_as(
                    &access,
                    "/api/auth/logout",
                    json!({ "allDevices": all_devices }),
                )
                .await
        });

        assert_eq!(left.status, 200);
        assert!(
            ["", "refresh_token_invalid"].contains(&refreshed.code()),
            "{refreshed:?}"
        );
        refreshes += u32::from(refreshed.status == 200);
        let refresh = if refreshed.status == 200 {
            refreshed.text("refreshToken")
        } else {
            refresh
        };
        let access = refreshed["accessToken"]
            .as_str()
            .unwrap_or(&access)
            .to_owned();
        assert_eq!(
            refresher.refresh(&refresh).await.code(),
            "refresh_token_invalid",
            "round {round}"
        );
        assert_eq!(
            refresher.profile(&access).await.code(),
            "token_revoked",
            "round {round}"
        );
    }
    assert!(
        (1..200).contains(&refreshes),
        "each came first at times: {refreshes}"
    );
}

/// security.md 22.
#[tokio::test]
async fn a_session_ends_at_its_maximum_however_often_it_is_refreshed() {
    let world = World::build()
        .variable("SESSION_MAX_AGE", "4s")
        .variable("JWT_REFRESH_EXPIRY", "3s");
    let Some(world) = world.start() else { return };
    let client = world.client();
    let mut account = client.register().await;
    let (_, first) = token::parts(&account.refresh);
    let born = first["iat"].as_i64().unwrap();
    let started = Instant::now();

    let mut refreshes = 0;
    let end = loop {
        let answer = client.refresh(&account.refresh).await;
        if answer.status != 200 {
            break answer;
        }
        refreshes += 1;
        account.refresh = answer.text("refreshToken");
        account.access = answer.text("accessToken");
        for token in [&account.refresh, &account.access] {
            let exp = token::parts(token).1["exp"].as_i64().unwrap();
            assert!(exp <= born + 5, "no token lives longer than its session");
        }
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "the session does not end"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    };

    assert!(refreshes > 3, "{refreshes}");
    assert!(
        ["refresh_token_expired", "refresh_token_invalid"].contains(&end.code()),
        "{end:?}"
    );
    assert!(
        started.elapsed() >= Duration::from_secs(3),
        "the session ended too early: {:?}",
        started.elapsed()
    );
    let access = client.profile(&account.access).await;
    assert!(
        ["token_expired", "token_revoked"].contains(&access.code()),
        "{access:?}"
    );
}

#[tokio::test]
async fn an_expired_refresh_token_is_told_so() {
    let Some(world) = World::build().variable("JWT_REFRESH_EXPIRY", "1s").start() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    token::wait_until_expired(&account.refresh).await;

    let answer = client.refresh(&account.refresh).await;

    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (401, "refresh_token_expired")
    );
}

/// security.md 17.
#[tokio::test]
async fn one_kind_of_token_is_not_accepted_as_the_other() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;

    assert_eq!(
        client.refresh(&account.access).await.code(),
        "refresh_token_invalid"
    );
    assert_eq!(
        client.profile(&account.refresh).await.code(),
        "invalid_token"
    );
}

#[tokio::test]
async fn a_refresh_without_a_token_is_a_bad_request() {
    let world = World::start();
    let client = world.client();
    for body in [
        json!({}),
        json!({ "refreshToken": null }),
        json!({ "refreshToken": 7 }),
    ] {
        let answer = client.post("/api/auth/refresh", body).await;

        assert_eq!(
            (
                answer.status.as_u16(),
                answer.fields().into_iter().collect()
            ),
            (400, vec!["refreshToken"])
        );
    }
    for text in ["", "x", "a.b.c", &"x".repeat(5000)] {
        assert_eq!(
            client.refresh(text).await.code(),
            "refresh_token_invalid",
            "{text}"
        );
    }
}

#[tokio::test]
async fn secrets_are_rotated_while_users_are_signed_in() {
    const FIRST: [&str; 2] = [
        "the first access secret, 32 bytes or more",
        "the first refresh secret, 32 bytes or more",
    ];
    const SECOND: [&str; 2] = [
        "the second access secret, 32 bytes or more",
        "the second refresh secret, 32 bytes or more",
    ];
    let folder = tempfile::tempdir().unwrap();
    let build = |secrets: [&str; 2]| {
        let world = World::build()
            .data_dir(folder.path())
            .variable("JWT_ISSUER", "gatehouse");
        world
            .variable("JWT_SECRET", secrets[0])
            .variable("JWT_REFRESH_SECRET", secrets[1])
    };
    let Some(world) = build(FIRST).start() else {
        return;
    };
    let account = world.client().register().await;
    drop(world);

    let previous = |world: harness::world::Builder| {
        world
            .variable("JWT_SECRET_PREVIOUS", FIRST[0])
            .variable("JWT_REFRESH_SECRET_PREVIOUS", FIRST[1])
    };
    let world = previous(build(SECOND)).start().unwrap();
    assert_eq!(world.client().profile(&account.access).await.status, 200);
    let renewed = world.client().refresh(&account.refresh).await;
    assert_eq!(renewed.status, 200);
    drop(world);

    let world = build(SECOND).start().unwrap();
    let client = world.client();
    assert_eq!(
        client.profile(&renewed.text("accessToken")).await.status,
        200,
        "only the current secret signs"
    );
    assert_eq!(
        client.refresh(&renewed.text("refreshToken")).await.status,
        200
    );
    assert_eq!(
        client.profile(&account.access).await.code(),
        "invalid_token"
    );
    assert_eq!(
        client.refresh(&account.refresh).await.code(),
        "refresh_token_invalid"
    );
}

/// security.md 10.
#[tokio::test]
async fn an_account_that_is_not_active_gets_nothing_and_loses_its_sessions() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let (other_access, other_refresh) = client.login(&account).await;
    world
        .dynamodb()
        .set_user(&account.id, "status", json!({ "S": "disabled" }))
        .await;

    assert_eq!(
        client.profile(&other_access).await.code(),
        "token_revoked",
        "only the record was changed"
    );
    let refused = client.refresh(&account.refresh).await;
    world
        .dynamodb()
        .set_user(&account.id, "status", json!({ "S": "active" }))
        .await;

    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (401, "refresh_token_invalid")
    );
    assert_eq!(
        client.refresh(&other_refresh).await.code(),
        "refresh_token_invalid"
    );
}

/// DynamoDB's TTL deletes expired items late.
#[tokio::test]
async fn an_account_whose_record_has_expired_gets_nothing() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    world
        .dynamodb()
        .set_user(&account.id, "ttl", json!({ "N": "1" }))
        .await;

    let refused = client.refresh(&account.refresh).await;

    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (401, "refresh_token_invalid")
    );
}

#[tokio::test]
async fn a_changed_role_is_in_the_next_access_token() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    world
        .dynamodb()
        .set_user(&account.id, "role", json!({ "S": "admin" }))
        .await;

    let answer = client.refresh(&account.refresh).await;

    assert_eq!(token::parts(&answer.text("accessToken")).1["role"], "admin");
}

#[tokio::test]
async fn a_failover_that_lost_the_last_rotation_signs_nobody_out() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let successor = client.refresh(&account.refresh).await;
    let sid = token::parts(&account.refresh).1["sid"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut record = world.sessions()[&sid].clone();
    record["counter"] = json!(0);
    let _: () = redis::cmd("HSET")
        .arg(format!("sessions:{{{}}}", account.id))
        .arg(sid)
        .arg(record.to_string())
        .query(&mut world.redis())
        .unwrap();

    let answer = client.refresh(&successor.text("refreshToken")).await;

    assert_eq!(answer.status, 200);
    assert_eq!(token::parts(&answer.text("refreshToken")).1["counter"], 2);
}

/// A dump of Redis contains no usable token.
#[tokio::test]
async fn redis_holds_the_documented_keys_and_no_token() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let answer = client.refresh(&account.refresh).await;
    let sid = token::parts(&account.access).1["sid"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut redis = world.redis();

    let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut redis).unwrap();
    keys.sort_unstable();
    let documented = ["devices", "sessions"].map(|name| format!("{name}:{{{}}}", account.id));
    let (codes, keys): (Vec<String>, Vec<String>) = keys
        .into_iter()
        .partition(|key| key.starts_with("mailed_code:"));
    assert_eq!(codes.len(), 1, "the code of the registration's mail");
    assert_eq!(keys, documented);
    let sessions = world.sessions();
    let record = &sessions[&sid];
    let fields: Vec<&String> = record.as_object().unwrap().keys().collect();
    let expected = [
        "absolute_expires_at",
        "amr",
        "counter",
        "created_at",
        "epoch",
        "expires_at",
        "ip",
        "last_used_at",
        "network",
        "remember",
        "role",
        "rotated_at",
        "rotated_by",
        "user_agent",
    ];
    assert_eq!(fields, expected);
    assert_eq!(
        [&record["counter"], &record["role"], &record["remember"]],
        [&json!(1), &json!("user"), &json!(false)]
    );
    let ip = record["ip"].as_str().unwrap();
    assert!(ip.starts_with("127."), "{ip}");
    let text = format!("{sessions:?}");
    for token in [
        &account.access,
        &account.refresh,
        &answer.text("accessToken"),
        &answer.text("refreshToken"),
    ] {
        assert!(!text.contains(token.rsplit('.').next().unwrap()));
    }
    for key in keys {
        let ttl: i64 = redis::cmd("TTL").arg(&key).query(&mut redis).unwrap();
        assert!(ttl > 0, "{key} never expires");
    }
}
