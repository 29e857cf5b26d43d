//! `POST /api/auth/passkeys/login/options` and `POST /api/auth/passkeys/login`. `tests/console.rs` signs in with the
//! authenticator of a browser.

use futures_util::future::join_all;
use harness::World;
use harness::passkey::{
    Passkey, assert_refused, flags, listed, login, login_options, proven, register_options,
};
use harness::token::parts;
use serde_json::{Value, json};

#[tokio::test]
async fn a_passkey_signs_in_without_an_address_and_counts_as_two_factors() {
    let Some(world) = World::with_mail() else {
        return;
    };
    let client = world.client();
    let account = proven(&world, &client).await;

    let mut passkey = Passkey::of(&client, &account).await;
    let signed_in = passkey.login(&client).await;

    assert_eq!(signed_in.status, 200, "{signed_in:?}");
    assert_eq!(signed_in["user"]["id"], account.id);
    let access = signed_in.text("accessToken");
    let (_, claims) = parts(&access);
    assert_eq!(claims["amr"], json!(["pop", "user", "mfa"]));
    let renewed = client.refresh(&signed_in.text("refreshToken")).await;
    let (_, claims) = parts(&renewed.text("accessToken"));
    assert_eq!(claims["amr"], json!(["pop", "user", "mfa"]));
    let listed = listed(&client, &access).await;
    assert_eq!(
        (listed.len(), &listed[0]["name"]),
        (1, &json!("Laptop")),
        "{listed:?}"
    );
    assert!(listed[0]["lastUsedAt"].as_str() > listed[0]["createdAt"].as_str());
    let mail = world.mail(&account.email, "A passkey was added").await;
    assert!(mail.text.contains("If it wasn't you"), "{}", mail.text);
}

/// security.md 46: nothing but a fresh answer of the right authenticator at the site's own page signs in.
#[tokio::test]
async fn an_answer_from_elsewhere_or_of_another_kind_is_refused() {
    let Some(world) = World::with_mail() else {
        return;
    };
    let client = world.client();
    let account = proven(&world, &client).await;
    let passkey = &mut Passkey::of(&client, &account).await;
    let victim = proven(&world, &client).await;
    let of_victim = Passkey::of(&client, &victim).await;
    type Change = fn(&mut Passkey, &Passkey);
    let changes: [(&str, Change); 5] = [
        ("a page that copies this one", |passkey, _| {
            passkey.origin = Some("https://app.example.com.evil.example".to_owned());
        }),
        ("a passkey of another site", |passkey, _| {
            passkey.site = Some("evil.example".to_owned());
        }),
        ("a user who was not verified", |passkey, _| {
            passkey.flags = flags::USER_PRESENT;
        }),
        ("a passkey with another user's name", |passkey, victim| {
            passkey.user.clone_from(&victim.user);
        }),
        (
            "a key that signs for another's passkey",
            |passkey, victim| {
                passkey.id.clone_from(&victim.id);
                passkey.user.clone_from(&victim.user);
            },
        ),
    ];
    for (what, change) in changes {
        let (id, user) = (passkey.id.clone(), passkey.user.clone());
        change(passkey, &of_victim);

        let answer = passkey.login(&client).await;

        assert_refused(&answer, what);
        (passkey.id, passkey.user) = (id, user);
        passkey.flags |= flags::USER_VERIFIED;
        (passkey.origin, passkey.site) = (None, None);
    }
    let stranger = &mut Passkey {
        user: passkey.user.clone(),
        ..Passkey::default()
    };
    assert_refused(&stranger.login(&client).await, "a passkey of nobody");

    let options = login_options(&client).await;
    let mut credential = passkey.get(&options);
    let mut signature = credential["response"]["signature"]
        .as_str()
        .unwrap()
        .to_owned();
    signature.replace_range(20..21, if &signature[20..21] == "A" { "B" } else { "A" });
    credential["response"]["signature"] = signature.into();
    assert_refused(&login(&client, credential).await, "a changed signature");
    let mut long = passkey.get(&login_options(&client).await);
    long["rawId"] = "A".repeat(4000).into();
    assert_refused(&login(&client, long).await, "an id longer than any");
    for (what, credential) in [
        ("no answer", json!({})),
        (
            "no challenge",
            json!({ "id": "AA", "rawId": "AA", "type": "public-key",
            "response": { "clientDataJSON": "e30", "authenticatorData": "AA", "signature": "AA" } }),
        ),
    ] {
        assert_refused(&login(&client, credential).await, what);
    }
    assert_eq!(passkey.login(&client).await.status, 200, "the right one");
}

/// security.md 47.
#[tokio::test]
async fn a_challenge_works_once_and_only_for_its_own_ceremony() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = proven(&world, &client).await;
    let passkey = &mut Passkey::of(&client, &account).await;

    let credential = passkey.get(&login_options(&client).await);
    let answers = join_all((0..6).map(|_| login(&client, credential.clone()))).await;
    let done = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(
        done, 1,
        "a recorded answer cannot be sent again: {answers:?}"
    );

    let options = register_options(&client, &account.access, json!({})).await["publicKey"].clone();
    let mut as_login = options.clone();
    as_login["rpId"] = options["rp"]["id"].clone();
    let crossed = login(&client, passkey.get(&as_login)).await;
    assert_refused(&crossed, "the challenge of a registration");
    let mut options = login_options(&client).await;
    options["challenge"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into();
    assert_refused(
        &login(&client, passkey.get(&options)).await,
        "a challenge of one's own",
    );

    let credential = passkey.get(&login_options(&client).await);
    for key in world.redis_keys("passkey_challenge:*") {
        let ttl: i64 = redis::cmd("TTL")
            .arg(&key)
            .query(&mut world.redis())
            .unwrap();
        assert!((1..=300).contains(&ttl), "five minutes: {ttl}");
        let _: () = redis::cmd("DEL")
            .arg(&key)
            .query(&mut world.redis())
            .unwrap();
    }
    assert_refused(&login(&client, credential).await, "too late");
}

/// security.md 48: the counter of a copied authenticator falls behind.
#[tokio::test]
async fn a_counter_that_goes_back_is_refused_and_told_to_the_owner() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = proven(&world, &client).await;
    let mut passkey = Passkey {
        counter: 7,
        ..Passkey::default()
    };
    passkey.register(&client, &account.access).await;
    passkey.counter = 9;
    assert_eq!(passkey.login(&client).await.status, 200);

    for counter in [9, 8, 0] {
        passkey.counter = counter;
        let copied = passkey.login(&client).await;
        assert_refused(&copied, "a copy");
    }

    assert_eq!(world.mails("passkey_copied", &account.email).await, 3);
    let audit = world.dynamodb().audit(&account.id).await;
    let failures = audit.iter().filter(|(event, outcome)| {
        (event.as_str(), outcome.as_str()) == ("passkey_login", "failure")
    });
    assert_eq!(failures.count(), 3, "{audit:?}");
    passkey.counter = 10;
    assert_eq!(passkey.login(&client).await.status, 200, "the original");

    // Two copies at the same moment: one of them counts.
    passkey.counter = 11;
    let (one, other) = (login_options(&client).await, login_options(&client).await);
    let (one, other) = (passkey.get(&one), passkey.get(&other));
    let answers = tokio::join!(login(&client, one), login(&client, other));
    let done = [&answers.0, &answers.1].map(|answer| answer.status == 200);
    assert_eq!(done.iter().filter(|done| **done).count(), 1, "{answers:?}");
}

/// Passkeys that are synchronised have no counter, and may be used in two places at once.
#[tokio::test]
async fn a_passkey_without_a_counter_signs_in_twice_at_the_same_moment() {
    let Some(world) = World::with_mail() else {
        return;
    };
    let client = world.client();
    let account = proven(&world, &client).await;
    let mut passkey = Passkey::default();
    passkey.flags |= flags::BACKUP_ELIGIBLE;
    passkey.register(&client, &account.access).await;

    passkey.flags |= flags::BACKED_UP;
    assert_eq!(passkey.login(&client).await.status, 200, "backed up since");
    let (one, other) = (login_options(&client).await, login_options(&client).await);
    let (one, other) = (passkey.get(&one), passkey.get(&other));
    let answers = tokio::join!(login(&client, one), login(&client, other));
    assert_eq!(
        (answers.0.status.as_u16(), answers.1.status.as_u16()),
        (200, 200),
        "{answers:?}"
    );
}

/// One question decides whether an account may sign in, whatever the method.
#[tokio::test]
async fn the_state_of_the_account_counts_and_strangers_wrong_passwords_do_not() {
    let Some(world) = World::build().variable("LOGIN_LOCKOUT", "3/15m").start() else {
        return;
    };
    let client = world.client();
    let account = proven(&world, &client).await;
    let passkey = &mut Passkey::of(&client, &account).await;
    for _ in 0..4 {
        client.try_login(&account.email, "Wrong-7-horse").await;
    }
    let locked = client.try_login(&account.email, &account.password).await;
    assert_eq!(locked.code(), "account_locked");
    assert_eq!(
        passkey.login(&client).await.status,
        200,
        "cannot be guessed"
    );

    let set = async |attribute: &str, value: Value| {
        let dynamodb = world.dynamodb();
        dynamodb.set_user(&account.id, attribute, value).await;
    };
    set("password_reset_required", json!({ "BOOL": true })).await;
    let answer = passkey.login(&client).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (403, "password_reset_required")
    );
    set("password_reset_required", json!({ "BOOL": false })).await;
    set("status", json!({ "S": "disabled" })).await;
    let answer = passkey.login(&client).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (403, "account_disabled")
    );
    set("status", json!({ "S": "active" })).await;
    let access = passkey.login(&client).await.text("accessToken");
    let deleted = client.delete_account(&access, &account.password).await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    assert_refused(&passkey.login(&client).await, "the account was deleted");
    let stored = world.dynamodb().items("PASSKEY#").await;
    let expires = stored.iter().filter(|item| !item["ttl"]["N"].is_null());
    assert_eq!((stored.len(), expires.count()), (1, 1), "it expires, too");
}

#[tokio::test]
async fn failures_are_limited_and_options_and_successes_are_not() {
    let limit = World::build().variable("RATE_LIMIT_PASSKEY_LOGIN", "3/15m");
    let Some(world) = limit.start() else { return };
    let client = world.client();
    let account = proven(&world, &client).await;
    let passkey = &mut Passkey::of(&client, &account).await;
    for _ in 0..5 {
        assert_eq!(passkey.login(&client).await.status, 200);
    }
    for _ in 0..3 {
        assert_refused(&login(&client, json!({})).await, "no answer");
    }
    let limited = login(&client, json!({})).await;
    assert_eq!(
        (limited.status.as_u16(), limited.code()),
        (429, "rate_limited")
    );
    let elsewhere = world.client();
    assert_eq!(passkey.login(&elsewhere).await.status, 200);
}

/// In cookie mode, the tokens are in cookies, as after a sign-in with a password.
#[tokio::test]
async fn a_browser_gets_cookies_and_is_remembered_if_it_asks() {
    let Some(world) = World::with_mail() else {
        return;
    };
    let client = world.client();
    let account = proven(&world, &client).await;
    let passkey = &mut Passkey::of(&client, &account).await;
    let credential = passkey.get(&login_options(&client).await);
    let body = json!({ "credential": credential, "rememberMe": true });

    let request = client.request(reqwest::Method::POST, "/api/auth/passkeys/login");
    let request = request.header("x-token-transport", "cookie");
    let answer = client.send(request.json(&body)).await;

    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        answer.cookie("__Host-refresh_token").is_some(),
        "{answer:?}"
    );
    assert_eq!(answer["refreshToken"], Value::Null);
    let a_month = 30 * 24 * 60 * 60;
    assert_eq!(answer["refreshExpiresIn"], a_month, "{answer:?}");
}
