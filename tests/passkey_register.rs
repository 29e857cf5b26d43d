//! `POST /api/auth/passkeys/register/options` and `POST /api/auth/passkeys/register`.

use futures_util::future::join_all;
use harness::passkey::{
    Passkey, assert_invalid, flags, listed, login_options, proven, register_options, remove,
};
use harness::{Account, World};
use serde_json::{Value, json};

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

/// security.md 49: a stranger who registers an address first does not keep a way in.
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
    let options = register_options(&client, &account.access, json!({})).await;
    for _ in done..10 {
        Passkey::of(&client, &account).await;
    }
    if done < 10 {
        let credential = Passkey::default().create(&options["publicKey"]);
        let body = json!({ "credential": credential });
        let late = client.post_as(&account.access, path, body).await;
        assert_invalid(&late, "too_many", "with options of before");
    }
    let surplus = register_options(&client, &account.access, json!({})).await;
    assert_invalid(&surplus, "too_many", "the eleventh");
}

/// security.md 50: an access token alone adds and removes no passkey.
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
