//! `POST /api/auth/register`.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use harness::client::{unique, unique_email, unique_password, unique_username};
use harness::world::EMAIL_TOKEN_SECRET;
use harness::{World, token};
use serde_json::{Value, json};

const PATH: &str = "/api/auth/register";

#[tokio::test]
async fn an_account_is_made_and_signed_in() {
    let world = World::start();
    let client = world.client();
    let (email, username, password) = (unique_email(), unique_username(), unique_password());

    let body = json!({ "email": format!("  {email} "), "username": username, "password": password, "name": " Ada L. " });
    let answer = client.post(PATH, body).await;

    assert_eq!(answer.status, 201);
    let user = &answer["user"];
    let names: Vec<&String> = user.as_object().unwrap().keys().collect();
    let mut expected = [
        "id",
        "email",
        "username",
        "name",
        "avatarUrl",
        "role",
        "emailVerified",
        "twoFactorEnabled",
        "createdAt",
        "updatedAt",
        "lastLoginAt",
    ];
    expected.sort_unstable();
    assert_eq!(names, expected.iter().collect::<Vec<_>>());
    assert_eq!(
        (&user["email"], &user["username"], &user["name"]),
        (&json!(email), &json!(username), &json!("Ada L."))
    );
    assert_eq!(
        (&user["role"], &user["emailVerified"]),
        (&json!("user"), &json!(false))
    );
    assert_eq!(
        (&user["avatarUrl"], &user["lastLoginAt"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(user["id"].as_str().unwrap().len(), 26);
    let created_at = user["createdAt"].as_str().unwrap();
    assert!(
        created_at.len() == 24 && created_at.ends_with('Z'),
        "{created_at}"
    );
    assert_eq!(
        (&answer["tokenType"], &answer["expiresIn"]),
        (&json!("Bearer"), &json!(900))
    );
    assert_eq!(answer["refreshExpiresIn"], 604_800);
    let profile = client.profile(&answer.text("accessToken")).await;
    assert_eq!(&profile["user"], user);
}

#[tokio::test]
async fn the_tokens_carry_the_claims_of_the_contract() {
    let world = World::start();
    let account = world.client().register().await;

    let (header, access) = token::parts(&account.access);
    let (_, refresh) = token::parts(&account.refresh);

    assert_eq!(
        (&header["typ"], &header["alg"]),
        (&json!("at+jwt"), &json!("RS256"))
    );
    assert!(header["kid"].is_string());
    assert_eq!(
        (&access["type"], &access["role"]),
        (&json!("access"), &json!("user"))
    );
    for claims in [&access, &refresh] {
        assert_eq!(
            (&claims["sub"], &claims["userId"]),
            (&json!(account.id), &json!(account.id))
        );
        assert!(
            claims["iss"].is_string() && claims["aud"].is_string() && claims["sid"].is_string(),
            "{claims}"
        );
    }
    assert!(access["jti"].is_string());
    assert_eq!(
        access["exp"].as_i64().unwrap() - access["iat"].as_i64().unwrap(),
        900
    );
    assert_eq!(refresh["type"], "refresh");
    assert_eq!(
        refresh["exp"].as_i64().unwrap() - refresh["iat"].as_i64().unwrap(),
        604_800
    );
}

#[tokio::test]
async fn username_and_name_may_be_absent_or_null_and_the_aliases_do_the_same() {
    let world = World::start();
    let client = world.client();

    for path in [PATH, "/signup", "/api/auth/signup"] {
        let body = json!({ "email": unique_email(), "password": unique_password(), "username": null, "name": null });
        let answer = client.post(path, body).await;

        assert_eq!(answer.status, 201, "{path}");
        assert_eq!(
            (&answer["user"]["username"], &answer["user"]["name"]),
            (&Value::Null, &Value::Null)
        );
    }
}

#[tokio::test]
async fn all_broken_fields_are_reported_at_once() {
    let world = World::start();
    let body = json!({ "email": "not an address", "username": "a!", "name": "\u{200B}", "password": "abc" });

    let answer = world.client().post(PATH, body).await;

    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (400, "validation_failed")
    );
    assert!(
        answer.names(&["email", "name", "password", "username"]),
        "{answer:?}"
    );
    assert_eq!(
        answer.messages("password"),
        [
            "must be at least 8 characters long",
            "must contain an upper-case letter",
            "must contain a digit"
        ]
    );
}

/// security.md 36.
#[tokio::test]
async fn nobody_sets_a_role_or_another_field_from_outside() {
    let world = World::start();
    let client = world.client();
    for field in ["role", "emailVerified", "id", "status", "Email"] {
        let mut body = json!({ "email": unique_email(), "password": unique_password() });
        body[field] = json!("admin");

        let answer = client.post(PATH, body).await;

        assert_eq!(answer.code(), "validation_failed");
        assert!(answer.names(&[field]), "{answer:?}");
    }
}

#[tokio::test]
async fn an_address_or_a_username_is_taken_in_every_spelling() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;

    let email = account.email.to_uppercase();
    let other_email = client
        .post(
            PATH,
            json!({ "email": email, "password": unique_password() }),
        )
        .await;
    let username = account.username.to_uppercase();
    let body =
        json!({ "email": unique_email(), "username": username, "password": unique_password() });
    let other_username = client.post(PATH, body.clone()).await;

    assert_eq!(
        (other_email.status.as_u16(), other_email.code()),
        (409, "email_taken")
    );
    assert_eq!(
        (other_username.status.as_u16(), other_username.code()),
        (409, "username_taken")
    );
    // The registration that was refused for its username has claimed nothing: its address is still free.
    let again = client
        .post(
            PATH,
            json!({ "email": body["email"], "password": unique_password() }),
        )
        .await;
    assert_eq!(again.status, 201);
}

/// security.md 40.
#[tokio::test]
async fn fifty_registrations_of_one_address_make_one_account_and_leave_nothing_half_made() {
    let Some(world) = World::inside() else { return };
    let email = unique_email();
    let requests = (0..50).map(|number| {
        let client = world.client().patient();
        let email = if number % 2 == 0 {
            email.to_uppercase()
        } else {
            email.clone()
        };
        let body =
            json!({ "email": email, "username": unique("u"), "password": unique_password() });
        async move { client.post(PATH, body).await }
    });

    let answers = join_all(requests).await;

    let made = answers.iter().filter(|answer| answer.status == 201).count();
    let refused = answers
        .iter()
        .filter(|answer| answer.code() == "email_taken");
    assert_eq!(made + refused.count(), 50);
    let is_late = answers.iter().any(|answer| answer.was_repeated);
    assert!(made == 1 || made == 0 && is_late);
    let dynamodb = world.dynamodb();
    for (prefix, number) in [
        ("EMAIL#", 1),
        ("USERNAME#", 1),
        ("VERIFY#", 1),
        ("OUTBOX#", 1),
    ] {
        assert_eq!(dynamodb.items(prefix).await.len(), number, "{prefix}");
    }
    let items = dynamodb.items("USER#").await;
    let users: BTreeSet<_> = items
        .iter()
        .map(|item| item["pk"]["S"].as_str().unwrap())
        .collect();
    assert_eq!(users.len(), 1, "{items:?}");
    let id = users.first().unwrap().trim_start_matches("USER#");
    let (codes, sessions): (Vec<String>, Vec<String>) = world
        .redis_keys("*")
        .into_iter()
        .partition(|key| key.starts_with("mailed_code:"));
    assert!(
        is_late || codes.len() == 1,
        "a refused registration left a code: {codes:?}"
    );
    // The session of a request that was cut short has no user, and expires.
    assert!(
        is_late || sessions.iter().all(|key| key.contains(id)),
        "a refused registration left a session: {sessions:?}"
    );
}

#[tokio::test]
async fn of_two_registrations_racing_for_a_username_exactly_one_wins() {
    let world = World::start();
    for _ in 0..5 {
        let username = unique_username();
        let body = || json!({ "email": unique_email(), "username": username, "password": unique_password() });
        let (first, second) = (world.client(), world.client());

        let (first, second) = tokio::join!(first.post(PATH, body()), second.post(PATH, body()));

        let mut codes = [first.code(), second.code()];
        codes.sort_unstable();
        assert_eq!(codes, ["", "username_taken"]);
    }
}

/// security.md 1: with production's hash cost, so that the log shows a refusal before hashing.
#[tokio::test]
async fn long_passphrases_work_and_over_the_maximum_nothing_is_hashed() {
    let Some(world) = World::build().production_hashes().start() else {
        return;
    };
    let client = world.client();
    let passphrase: String = "Correct 7 horses 🐎 batteries, staples and ☕ "
        .chars()
        .cycle()
        .take(64)
        .collect();
    let email = unique_email();
    let registered = client
        .post(PATH, json!({ "email": email, "password": passphrase }))
        .await;
    let login = client.try_login(&email, &passphrase).await;
    let hashes = || {
        world
            .log()
            .iter()
            .filter(|line| line.get("HashTime").is_some())
            .count()
    };
    let hashed_before = hashes();

    let too_long = "Aa1".repeat(43);
    let register = client
        .post(
            PATH,
            json!({ "email": unique_email(), "password": too_long }),
        )
        .await;
    let login_too_long = client.try_login(&email, &too_long).await;

    assert_eq!(
        (
            registered.status.as_u16(),
            login.status.as_u16(),
            hashed_before
        ),
        (201, 200, 2)
    );
    assert_eq!(
        register.messages("password"),
        ["must be at most 128 characters long"]
    );
    assert_eq!(
        login_too_long.messages("password"),
        ["must be at most 128 characters long"]
    );
    assert_eq!(hashes(), hashed_before);
}

/// security.md 3.
#[tokio::test]
async fn common_passwords_and_those_that_name_their_owner_are_refused_with_the_reason() {
    let Some(world) = World::build().variable("APP_NAME", "Gatehouse2026").start() else {
        return;
    };
    let client = world.client();
    for (password, reason) in [
        ("Password123", "is one of the most common passwords"),
        ("Qwerty123456", "is one of the most common passwords"),
        (
            "Ada.Lovelace1815@Example.com",
            "must not be the email address",
        ),
        (
            "ADA.lovelace1815",
            "must not be the name in the email address",
        ),
        ("Countess_1815", "must not be the username"),
        ("Countess_1816!", "must not be the username"),
        ("Gatehouse123", "must not be the name of this application"),
        ("Summer2026", "is one of the most common passwords"),
        ("P@ssw0rd1", "is one of the most common passwords"),
        ("Qwerty123!", "is one of the most common passwords"),
        ("Password1\u{200b}", "is one of the most common passwords"),
        ("gateHOUSE2026", "must not be the name of this application"),
    ] {
        let body = json!({ "email": "ada.lovelace1815@example.com", "username": "countess_1815", "password": password });

        let answer = client.post(PATH, body).await;

        assert_eq!(answer.messages("password"), [reason], "{password}");
    }
}

#[tokio::test]
async fn nobody_takes_a_username_that_looks_like_the_service_itself() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    for username in ["admin", "Support", "no_reply"] {
        let mut body = json!({ "email": unique_email(), "password": unique_password() });
        body["username"] = json!(username);
        let registered = client.post(PATH, body).await;
        let body = json!({ "username": username });
        let renamed = client.update_profile(&account.access, body).await;

        for answer in [registered, renamed] {
            assert!(answer.names(&["username"]), "{answer:?}");
            assert_eq!(answer["details"][0]["code"], "reserved");
        }
    }
}

#[tokio::test]
async fn the_password_rules_follow_the_configuration() {
    let world = World::build()
        .variable("PASSWORD_MIN_LENGTH", "12")
        .variable("PASSWORD_REQUIRE_SYMBOL", "true");
    let Some(world) = world.start() else { return };

    let body = json!({ "email": unique_email(), "password": "Abcdefghi1x" });
    let answer = world.client().post(PATH, body).await;

    assert_eq!(
        answer.messages("password"),
        [
            "must be at least 12 characters long",
            "must contain a symbol"
        ]
    );
}

/// security.md 4.
#[tokio::test]
async fn the_stored_hash_has_the_configured_cost_and_a_salt_of_its_own() {
    let Some(world) = World::build().production_hashes().start() else {
        return;
    };
    let client = world.client();
    let password = unique_password();
    let mut hashes = Vec::new();
    for _ in 0..2 {
        let answer = client
            .post(
                PATH,
                json!({ "email": unique_email(), "password": password }),
            )
            .await;
        hashes.push(
            world
                .dynamodb()
                .password_hash(answer["user"]["id"].as_str().unwrap())
                .await,
        );
    }

    for hash in &hashes {
        assert!(
            hash.starts_with("$argon2id$v=19$m=65536,t=3,p=4$"),
            "{hash}"
        );
        let salt = hash.split('$').nth(4).unwrap();
        assert_eq!(salt.len(), 22, "128 bits in base64 without padding");
    }
    assert_ne!(hashes[0], hashes[1]);
}

/// The mailer derives the token from the outbox entry; only the token's hash is stored.
#[tokio::test]
async fn the_verification_mail_is_in_the_outbox_and_its_token_nowhere() {
    let Some(world) = World::inside() else {
        return;
    };
    let account = world.client().register().await;
    let dynamodb = world.dynamodb();

    let outbox = &dynamodb.items("OUTBOX#").await[0];
    let token_id = outbox["token_id"]["S"].as_str().unwrap();
    let token = token::mailed(EMAIL_TOKEN_SECRET, "verify-email", token_id);
    let hash = hex::encode(aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        token.as_bytes(),
    ));

    assert_eq!(
        (&outbox["kind"]["S"], &outbox["to"]["S"]),
        (&json!("verify_email"), &json!(account.email))
    );
    assert_eq!(outbox["user_id"]["S"], account.id);
    let stored = dynamodb
        .get(&dynamodb.users, &format!("VERIFY#{hash}"), "TOKEN")
        .await;
    assert_eq!(stored["user_id"]["S"], account.id);
    let ttl: i64 = stored["ttl"]["N"].as_str().unwrap().parse().unwrap();
    let iat = token::parts(&account.access).1["iat"].as_i64().unwrap();
    assert!((ttl - iat - 86_400).abs() < 5, "24 h");
    let everything = format!(
        "{:?}{:?}",
        dynamodb.scan(&dynamodb.users).await,
        dynamodb.scan(&dynamodb.credentials).await
    );
    assert!(!everything.contains(&token) && !everything.contains(&account.password));
}

#[tokio::test]
async fn a_claim_whose_time_has_passed_is_free_although_it_is_not_swept_yet() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let dynamodb = world.dynamodb();
    let body = json!({ "email": account.email, "username": account.username, "password": unique_password() });
    let set_ttl = async |ttl: &str| {
        for key in [
            format!("EMAIL#{}", account.email),
            format!("USERNAME#{}", account.username),
        ] {
            dynamodb
                .set(
                    &dynamodb.users,
                    &key.to_lowercase().replacen("email#", "EMAIL#", 1).replacen(
                        "username#",
                        "USERNAME#",
                        1,
                    ),
                    "CLAIM",
                    "ttl",
                    json!({ "N": ttl }),
                )
                .await;
        }
    };

    set_ttl("4102444800").await;
    let before = client.post(PATH, body.clone()).await;
    set_ttl("1").await;
    let after = client.post(PATH, body).await;

    assert_eq!(before.code(), "email_taken");
    assert_eq!(after.status, 201);
    assert_ne!(after["user"]["id"], account.id);
}
