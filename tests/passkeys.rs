//! `/api/auth/passkeys`: passkeys are added, sign in and are removed. `tests/browser.rs` does it in a browser.

use futures_util::future::join_all;
use harness::passkey::{Passkey, flags, login, login_options, register_options};
use harness::token::{self, parts};
use harness::{Account, Answer, Client, World};
use serde_json::{Value, json};

/// Registers a user and proves the address.
async fn proven(world: &World, client: &Client) -> Account {
    let account = client.register().await;
    let mail = world.mail(&account.email, "Verify").await;
    client.verify_email(&account, &token::in_mail(&mail)).await;
    account
}

async fn remove(client: &Client, access: &str, id: &Value, body: Value) -> Answer {
    let path = format!("/api/auth/passkeys/{}", id.as_str().unwrap_or("unknown"));
    client.delete_as(access, &path, body).await
}

async fn listed(client: &Client, access: &str) -> Vec<Value> {
    let profile = client.profile(access).await;
    profile["passkeys"].as_array().expect("a list").clone()
}

#[track_caller]
fn assert_refused(answer: &Answer, what: &str) {
    let seen = (answer.status.as_u16(), answer.code());
    assert_eq!(seen, (401, "passkey_invalid"), "{what}: {answer:?}");
}

#[track_caller]
fn assert_invalid(answer: &Answer, rule: &str, what: &str) {
    assert_eq!(answer.code(), "validation_failed", "{what}: {answer:?}");
    let detail = &answer["details"][0];
    assert_eq!(
        (&detail["field"], &detail["code"]),
        (&json!("credential"), &json!(rule)),
        "{what}"
    );
}

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

#[tokio::test]
async fn options_ask_for_a_discoverable_passkey_that_verifies_its_user() {
    let Some(world) = World::with_mail() else {
        return;
    };
    let client = world.client();
    let account = proven(&world, &client).await;
    let passkey = Passkey::of(&client, &account).await;

    let create = register_options(&client, &account.access, json!({})).await["publicKey"].clone();
    let get = login_options(&client).await;

    let selection = &create["authenticatorSelection"];
    assert_eq!(selection["residentKey"], "required");
    assert_eq!(selection["requireResidentKey"], true);
    assert_eq!(selection["userVerification"], "required");
    assert_eq!(create["user"]["name"], account.email);
    assert_eq!(create["attestation"], "none");
    let excluded = create["excludeCredentials"].as_array().unwrap();
    assert_eq!(excluded.len(), 1, "{create}");
    assert_eq!(get["userVerification"], "required");
    assert_eq!(get["rpId"], create["rp"]["id"]);
    assert_eq!(get["allowCredentials"], json!([]), "no account is named");
    assert_ne!(get["challenge"], create["challenge"]);
    assert!(!passkey.user.is_empty());
}

/// security.md 48: nothing but a fresh answer of the right authenticator at the site's own page signs in.
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
        ("a key that signs for another's passkey", |passkey, victim| {
            passkey.id.clone_from(&victim.id);
            passkey.user.clone_from(&victim.user);
        }),
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
    let mut signature = credential["response"]["signature"].as_str().unwrap().to_owned();
    signature.replace_range(20..21, if &signature[20..21] == "A" { "B" } else { "A" });
    credential["response"]["signature"] = signature.into();
    assert_refused(&login(&client, credential).await, "a changed signature");
    for (what, credential) in [
        ("no answer", json!({})),
        ("no challenge", json!({ "id": "AA", "rawId": "AA", "type": "public-key",
            "response": { "clientDataJSON": "e30", "authenticatorData": "AA", "signature": "AA" } })),
    ] {
        assert_refused(&login(&client, credential).await, what);
    }
    assert_eq!(passkey.login(&client).await.status, 200, "the right one");
}

/// security.md 49.
#[tokio::test]
async fn a_challenge_works_once_and_only_for_its_own_ceremony() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = proven(&world, &client).await;
    let passkey = &mut Passkey::of(&client, &account).await;

    let credential = passkey.get(&login_options(&client).await);
    let answers = join_all((0..6).map(|_| login(&client, credential.clone()))).await;
    let done = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(done, 1, "a recorded answer cannot be sent again: {answers:?}");

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
        let ttl: i64 = redis::cmd("TTL").arg(&key).query(&mut world.redis()).unwrap();
        assert!((1..=300).contains(&ttl), "five minutes: {ttl}");
        let _: () = redis::cmd("DEL").arg(&key).query(&mut world.redis()).unwrap();
    }
    assert_refused(&login(&client, credential).await, "too late");
}

/// security.md 50: the counter of a copied authenticator falls behind.
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

/// security.md 51: a stranger who registers an address first does not keep a way in.
#[tokio::test]
async fn an_account_with_an_unproven_address_gets_no_passkey() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;

    let options = register_options(&client, &account.access, json!({})).await;
    let body = json!({ "credential": {} });
    let path = "/api/auth/passkeys/register";
    let registered = client.post_as(&account.access, path, body).await;

    for answer in [options, registered] {
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (403, "email_not_verified")
        );
    }
}

#[tokio::test]
async fn a_registration_belongs_to_its_session_and_works_once() {
    let Some(world) = World::with_mail() else {
        return;
    };
    let client = world.client();
    let (account, other) = (proven(&world, &client).await, proven(&world, &client).await);
    let path = "/api/auth/passkeys/register";
    let add = async |access: &str, credential: &Value| {
        let body = json!({ "credential": credential });
        client.post_as(access, path, body).await
    };
    let (second_session, _) = client.login(&account).await;
    let options = register_options(&client, &account.access, json!({})).await["publicKey"].clone();
    let mut passkey = Passkey::default();

    let stolen = add(&other.access, &passkey.create(&options)).await;
    assert_invalid(&stolen, "invalid_passkey", "another user's options");
    let options = register_options(&client, &account.access, json!({})).await["publicKey"].clone();
    let moved = add(&second_session, &passkey.create(&options)).await;
    assert_invalid(&moved, "invalid_passkey", "another session's options");

    let options = register_options(&client, &account.access, json!({})).await["publicKey"].clone();
    for (what, flags, origin) in [
        ("no verified user", flags::USER_PRESENT, None),
        ("another page", passkey.flags, Some("https://evil.example")),
    ] {
        let mut bad = Passkey {
            flags,
            origin: origin.map(str::to_owned),
            ..Passkey::default()
        };
        let options = register_options(&client, &account.access, json!({})).await;
        let answer = add(&account.access, &bad.create(&options["publicKey"])).await;
        assert_invalid(&answer, "invalid_passkey", what);
    }

    // The answer was lost, and the client asks again.
    let credential = passkey.create(&options);
    let added = add(&account.access, &credential).await;
    assert_eq!(added.status, 200, "{added:?}");
    let again = add(&account.access, &credential).await;
    assert_eq!(again["passkey"], added["passkey"], "{again:?}");
    assert_eq!(added["passkey"]["name"], "Passkey", "its default");
    assert_eq!(listed(&client, &account.access).await.len(), 1);

    // One credential, two accounts.
    let options = register_options(&client, &other.access, json!({})).await["publicKey"].clone();
    let taken = add(&other.access, &passkey.create(&options)).await;
    assert_invalid(&taken, "passkey_taken", "two accounts");
    assert_eq!(listed(&client, &other.access).await.len(), 0);
}

/// security.md 52: an access token alone adds and removes no passkey.
#[tokio::test]
async fn adding_and_removing_take_a_recent_sign_in_or_the_password_and_the_second_factor() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = proven(&world, &client).await;
    let added = Passkey::default().register(&client, &account.access).await;
    let id = &added["passkey"]["id"];
    world.age_session(&account.access, 11);

    for body in [json!({}), json!({ "password": "Wrong-7-horse" })] {
        let options = register_options(&client, &account.access, body.clone()).await;
        let removed = remove(&client, &account.access, id, body).await;
        for answer in [options, removed] {
            assert_eq!(answer.status, 403, "{answer:?}");
            let expected = ["reauthentication_required", "invalid_credentials"];
            assert!(expected.contains(&answer.code()), "{answer:?}");
        }
    }
    let body = json!({ "password": account.password });
    let options = register_options(&client, &account.access, body.clone()).await;
    assert_eq!(options.status, 200, "{options:?}");
    let removed = remove(&client, &account.access, id, body).await;
    assert_eq!(removed.status, 200, "{removed:?}");

    let (access, _) = client.login(&account).await;
    let account = Account { access, ..account };
    let (mut app, codes) = client.enrol(&account).await;
    let without = register_options(&client, &account.access, json!({})).await;
    assert_eq!(without.code(), "two_factor_required");
    let body = json!({ "twoFactorToken": "000000" });
    let wrong = register_options(&client, &account.access, body).await;
    assert_eq!(
        (wrong.status.as_u16(), wrong.code()),
        (403, "two_factor_invalid")
    );
    let body = json!({ "twoFactorToken": app.next().await });
    let right = register_options(&client, &account.access, body.clone()).await;
    assert_eq!(right.status, 200, "{right:?}");
    let used = register_options(&client, &account.access, body).await;
    assert_eq!(used.code(), "two_factor_invalid", "the code is used up");
    let body = json!({ "twoFactorToken": codes[0] });
    let backup = register_options(&client, &account.access, body.clone()).await;
    assert_eq!(backup.status, 200, "{backup:?}");
    let used = register_options(&client, &account.access, body).await;
    assert_eq!(used.code(), "two_factor_invalid", "so is the backup code");
    assert_eq!(world.mails("backup_code_used", &account.email).await, 1);
    let profile = client.profile(&account.access).await;
    assert_eq!(profile["twoFactor"]["backupCodesLeft"], 9);

    // With the passkey, no code is asked for.
    let mut passkey = Passkey::default();
    let credential = passkey.create(&backup["publicKey"]);
    let body = json!({ "credential": credential });
    let path = "/api/auth/passkeys/register";
    let added = client.post_as(&account.access, path, body).await;
    assert_eq!(added.status, 200, "{added:?}");
    let signed_in = passkey.login(&client).await;
    assert_eq!(signed_in.status, 200, "{signed_in:?}");
}

#[tokio::test]
async fn a_removed_passkey_signs_in_no_more_and_only_its_owner_removes_it() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let (account, other) = (proven(&world, &client).await, proven(&world, &client).await);
    let passkey = &mut Passkey::default();
    let added = passkey.register(&client, &account.access).await;
    let id = &added["passkey"]["id"];

    for (access, id) in [(&other.access, id), (&account.access, &json!("unknown"))] {
        let removed = remove(&client, access, id, json!({})).await;
        assert_eq!((removed.status.as_u16(), removed.code()), (404, "not_found"));
    }
    assert_eq!(passkey.login(&client).await.status, 200);
    let removed = remove(&client, &account.access, id, json!({})).await;

    assert_eq!(removed.status, 200, "{removed:?}");
    assert_refused(&passkey.login(&client).await, "it was removed");
    assert!(listed(&client, &account.access).await.is_empty());
    assert_eq!(world.mails("passkey_removed", &account.email).await, 1);
    assert!(world.dynamodb().items("PASSKEY#").await.is_empty());
    let audit = world.dynamodb().audit(&account.id).await;
    for event in ["passkey_register", "passkey_login", "passkey_remove"] {
        let success = (event.to_owned(), "success".to_owned());
        assert!(audit.contains(&success), "{event}: {audit:?}");
    }
    let again = remove(&client, &account.access, id, json!({})).await;
    assert_eq!(again.code(), "not_found");
    let added = passkey.register(&client, &account.access).await;
    assert_eq!(added.status, 200, "the same one again: {added:?}");
}

#[tokio::test]
async fn an_account_has_ten_passkeys_at_most_also_in_parallel() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = proven(&world, &client).await;
    let mut answers = Vec::new();
    for _ in 0..12 {
        let options = register_options(&client, &account.access, json!({})).await;
        answers.push((Passkey::default(), options["publicKey"].clone()));
    }
    let path = "/api/auth/passkeys/register";
    let bodies = answers.iter_mut().map(|(passkey, options)| {
        let body = json!({ "credential": passkey.create(options) });
        client.post_as(&account.access, path, body)
    });
    let added = join_all(bodies.collect::<Vec<_>>()).await;

    let done = added.iter().filter(|answer| answer.status == 200).count();
    let listed = listed(&client, &account.access).await.len();
    assert_eq!(listed, done);
    assert!(done <= 10, "{added:?}");
    for _ in done..10 {
        Passkey::of(&client, &account).await;
    }
    let surplus = register_options(&client, &account.access, json!({})).await;
    assert_invalid(&surplus, "too_many", "the eleventh");
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
    assert_eq!(passkey.login(&client).await.status, 200, "cannot be guessed");

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

/// security.md 53: whoever held a session and added a passkey is thrown out with the session.
#[tokio::test]
async fn the_link_that_undoes_a_second_factor_removes_the_passkeys() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = proven(&world, &client).await;
    let thief = &mut Passkey::of(&client, &account).await;
    client.enrol(&account).await;
    let undo = world.mailed_token("two_factor_on", &account.email).await;

    let undone = client.undo_two_factor(&undo).await;

    assert_eq!(undone.status, 200, "{undone:?}");
    assert_refused(&thief.login(&client).await, "the thief's passkey");
    assert!(world.dynamodb().items("PASSKEY#").await.is_empty());
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
    assert_eq!((limited.status.as_u16(), limited.code()), (429, "rate_limited"));
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
    assert!(answer.cookie("__Host-refresh_token").is_some(), "{answer:?}");
    assert_eq!(answer["refreshToken"], Value::Null);
    let a_month = 30 * 24 * 60 * 60;
    assert_eq!(answer["refreshExpiresIn"], a_month, "{answer:?}");
}
