//! Each role allows what its function uses, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use harness::client::{unique_email, unique_password, unique_username};
use harness::dynamodb::stream_record;
use harness::oauth::{self, FAKE, FakeProvider, verified};
use harness::passkey::{self, Passkey};
use harness::{Account, Answer, Authenticator, Client, World, code, service, template, until};
use local::iam::Right;
use reqwest::Method;
use serde_json::{Value, json};

type Rights = BTreeMap<String, BTreeSet<Right>>;

/// Returns the rights that are in `these` and not in `those`, one per line.
fn missing(these: &Rights, those: &Rights) -> Vec<String> {
    let none = BTreeSet::new();
    let lines = these.iter().flat_map(|(function, rights)| {
        let others = those.get(function).unwrap_or(&none);
        let rights = rights.difference(others);
        rights.map(move |right| {
            let Right {
                action,
                table,
                keys,
            } = right;
            format!("{function}: {action} at {keys}* of {table}")
        })
    });
    lines.collect()
}

async fn ok(answer: impl Future<Output = Answer>) -> Answer {
    let answer = answer.await;
    assert!(answer.status.is_success(), "{:?}", answer.body);
    answer
}

async fn login(client: &Client, body: Value) -> Answer {
    client.post("/api/auth/login", body).await
}

/// Signs in from an unknown device: each user agent counts as another device.
async fn login_from(client: &Client, agent: &str, body: &Value) -> Answer {
    let request = client.request(Method::POST, "/api/auth/login");
    client
        .send(request.header("user-agent", agent).json(body))
        .await
}

/// security.md 41. Every function of every test runs under its role, so a role that lacks a right fails this test and
/// others. A role that allows more than this tour of all functions uses fails this test.
#[tokio::test]
async fn every_right_of_a_role_is_used_by_its_function() {
    let allowed = service::world().variable("SIGN_UP_BY_CODE", "true");
    let provider = FakeProvider::start().await;
    let configuration = provider.configuration(json!({ "keepTokens": true }));
    let Some(world) = oauth::configure(allowed, &[configuration]).start() else {
        return;
    };
    let client = world.client();

    let account = mails_and_addresses(&world, &client).await;
    profile_and_sessions(&client, &account).await;
    let account = passwords(&world, &client, account).await;
    second_factor(&world, &client, &account).await;
    ending(&client).await;
    mailed_codes(&world, &client).await;
    passkeys(&world, &client).await;
    other_providers(&world, &client, &provider).await;
    until("the mailer has had its turn", async || {
        let outbox = world.dynamodb().items("OUTBOX#").await;
        let is_done = |entry: &Value| !(entry["sent_at"].is_null() && entry["given_up"].is_null());
        outbox.iter().all(is_done)
    })
    .await;

    let account = client.register().await;
    for path in ["/api/auth/introspect", "/api/auth/revoke"] {
        let (access, _) = client.login(&account).await;
        let answer = service::ask(&client, path, service::ONE, &access).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let event = include_str!("../events/authorizer.json");
    let event = event.replace("ACCESS_TOKEN", &account.access);
    let answer = world.local().invoke("authorizer", event.into_bytes());
    let answer = String::from_utf8(answer.await.unwrap()).unwrap();
    assert!(answer.contains("\"isAuthorized\":true"), "{answer}");

    // A batch is delivered again.
    let image = world.dynamodb().items("OUTBOX#").await.remove(0);
    let record = stream_record("1", &image);
    let batch = json!({ "Records": [record] }).to_string().into_bytes();
    world.local().invoke("mailer", batch).await.unwrap();

    let iam = world.local().iam();
    let unused = missing(&iam.granted(), &iam.used());
    assert!(unused.is_empty(), "granted but never used: {unused:#?}");
}

async fn mails_and_addresses(world: &World, client: &Client) -> Account {
    let account = client.register().await;
    for email in [&account.email, &unique_email()] {
        let body = json!({ "email": email });
        ok(client.post("/api/auth/verify-email/resend", body)).await;
    }
    let token = world.mailed_token("verify_email", &account.email).await;
    client.verify_email(&account, &token).await;
    let dynamodb = world.dynamodb();
    // The ways in which an account with an unproven address is removed, and an address that is proven late.
    let complaint = include_str!("../events/mail-events.json").replace("Bounce", "Complaint");
    let complaint = complaint.replace("bouncedRecipients", "complainedRecipients");
    let complaint = complaint.replace(r#"\"bounce\""#, r#"\"complaint\""#);
    let unproven = client.register().await;
    client.enrol(&unproven).await;
    let event = complaint.replace("ada@example.com", &unproven.email);
    let answer = world.local().invoke("mail-events", event.into_bytes());
    answer.await.unwrap();
    assert_eq!(
        client.profile(&unproven.access).await.code(),
        "token_revoked"
    );
    let rejected = client.register().await;
    client.enrol(&rejected).await;
    let token = world.rejection_token(&rejected.email).await;
    ok(client.post(
        "/api/auth/verify-email",
        json!({ "token": token, "reject": true }),
    ))
    .await;
    let owned = client.register().await;
    client.enrol(&owned).await;
    ok(client.request_reset(&owned.email)).await;
    let token = world.mailed_token("reset_password", &owned.email).await;
    let body = json!({ "token": token, "newPassword": unique_password() });
    ok(client.post("/reset-password", body)).await;
    let undone = client.register().await;
    client.enrol(&undone).await;
    let token = world.mailed_token("two_factor_on", &undone.email).await;
    ok(client.undo_two_factor(&token)).await;
    // A session used from two places, a password hash of an older kind, and requests that take a password.
    let busy = client.register().await;
    ok(client.refresh(&busy.refresh)).await;
    ok(world.client().refresh(&busy.refresh)).await;
    let older = json!({ "S": bcrypt::hash("Correct-7-horse", 4).unwrap() });
    let table = dynamodb.credentials.clone();
    dynamodb
        .set(
            &table,
            &format!("USER#{}", busy.id),
            "PASSWORD",
            "hash",
            older,
        )
        .await;
    let body = json!({ "email": busy.email, "password": "Correct-7-horse" });
    ok(login(client, body)).await;
    let (careful, password) = (client.register().await, "password");
    let mut body = json!({ password: careful.password });
    let setup = ok(client.set_up_two_factor(&careful.access, body.clone())).await;
    let mut app = Authenticator::scan(&setup);
    body["token"] = json!(app.next().await);
    let answer = ok(client.verify_two_factor(&careful.access, body)).await;
    let codes = answer.body["backupCodes"].as_array().unwrap().clone();
    let body = json!({ "token": app.next().await, "deviceName": "spare" });
    let setup = ok(client.set_up_two_factor(&careful.access, body)).await;
    let mut spare = Authenticator::scan(&setup);
    let body = json!({ "token": spare.next().await });
    ok(client.verify_two_factor(&careful.access, body)).await;
    let body = json!({ "token": spare.last(), "regenerate": true, "password": careful.password });
    assert_eq!(
        client.verify_two_factor(&careful.access, body).await.status,
        403
    );
    let body = json!({ "token": codes[0], "deviceId": spare.device });
    ok(client.disable_two_factor(&careful.access, body)).await;
    // With the password, for an account that would expire.
    let late = client.register().await;
    let ttl = json!({ "N": "9999999999" });
    dynamodb.set_user(&late.id, "ttl", ttl).await;
    let token = world.mailed_token("verify_email", &late.email).await;
    let body = json!({ "token": token, "password": late.password });
    ok(client.post("/api/auth/verify-email", body)).await;
    let unwanted = json!({ "email": unique_email(), "username": unique_username(), "password": unique_password() });
    ok(client.post("/api/auth/register", unwanted.clone())).await;
    let email = unwanted["email"].as_str().unwrap();
    let token = world.mailed_token("verify_email", email).await;
    let body = json!({ "token": token, "reject": true });
    ok(client.post("/api/auth/verify-email", body)).await;
    let bounced = client.register().await;
    let event = include_str!("../events/mail-events.json");
    let event = event.replace("ada@example.com", &bounced.email);
    let answer = world.local().invoke("mail-events", event.into_bytes());
    answer.await.unwrap();
    account
}

async fn profile_and_sessions(client: &Client, account: &Account) {
    for username in [unique_username(), unique_username()] {
        let body = json!({ "username": username });
        ok(client.update_profile(&account.access, body)).await;
    }
    ok(client.profile(&account.access)).await;
    let body = json!({ "identifier": account.email, "password": account.password });
    let second = ok(login_from(client, "another device", &body)).await;
    ok(login(client, body.clone())).await;
    let username = client.profile(&account.access).await.body["user"]["username"].clone();
    let by_name = json!({ "identifier": username, "password": account.password });
    ok(login(client, by_name)).await;
    let wrong = json!({ "identifier": account.email, "password": unique_password() });
    assert_eq!(login(client, wrong).await.status, 401);
    let nobody = json!({ "identifier": unique_email(), "password": unique_password() });
    assert_eq!(login(client, nobody).await.status, 401);

    // A refresh token that was replaced twice is used again.
    let stolen = second.text("refreshToken");
    let next = ok(client.refresh(&stolen)).await.text("refreshToken");
    ok(client.refresh(&next)).await;
    assert_eq!(client.refresh(&stolen).await.code(), "refresh_token_reused");
    let sessions = ok(client.sessions(&account.access)).await;
    let sessions = sessions.body["sessions"].as_array().unwrap();
    let other = sessions.iter().find(|session| session["current"] == false);
    let path = format!(
        "/api/auth/sessions/{}",
        other.unwrap()["id"].as_str().unwrap()
    );
    ok(client.delete_as(&account.access, &path, json!({}))).await;
    ok(client.delete_as(&account.access, "/api/auth/sessions", json!({}))).await;
}

async fn passwords(world: &World, client: &Client, account: Account) -> Account {
    let change = async |current: &str, new: &str| {
        let body = json!({ "currentPassword": current, "newPassword": new });
        let path = "/api/auth/change-password";
        client.post_as(&account.access, path, body).await
    };
    let (new, newer) = (unique_password(), unique_password());
    assert_eq!(change(&newer, &new).await.status, 403);
    ok(change(&account.password, &new)).await;
    for email in [&account.email, &unique_email()] {
        ok(client.request_reset(email)).await;
    }
    let token = world.mailed_token("reset_password", &account.email).await;
    let body = json!({ "token": token, "newPassword": newer });
    ok(client.post("/reset-password", body)).await;
    let body = json!({ "email": account.email, "password": newer });
    let answer = ok(login(client, body)).await;
    Account {
        password: newer,
        access: answer.text("accessToken"),
        ..account
    }
}

async fn second_factor(world: &World, client: &Client, account: &Account) {
    let (mut app, codes) = client.enrol(account).await;
    let post = async |path: &str, body: Value| client.post_as(&account.access, path, body).await;
    assert_eq!(
        post("/api/auth/2fa/setup", json!({ "token": "000000" }))
            .await
            .status,
        403
    );
    assert_eq!(
        post(
            "/api/auth/2fa/verify",
            json!({ "token": "000000", "regenerate": true })
        )
        .await
        .status,
        403
    );
    assert_eq!(
        post("/api/auth/2fa/disable", json!({ "token": "000000" }))
            .await
            .status,
        403
    );
    let body = json!({ "token": app.next().await, "regenerate": true });
    let answer = ok(post("/api/auth/2fa/verify", body)).await;
    let fresh = answer.body["backupCodes"].as_array().unwrap().clone();
    let sign_in = async |code: &Value| {
        let body =
            json!({ "email": account.email, "password": account.password, "twoFactorToken": code });
        login(client, body).await
    };
    assert_eq!(
        sign_in(&json!(codes[0])).await.status,
        401,
        "an old backup code"
    );
    let access = ok(sign_in(&fresh[0])).await.text("accessToken");
    app.forget(world, &account.id).await;
    ok(sign_in(&json!(app.next().await))).await;
    let as_new = async |path: &str, body: Value| client.post_as(&access, path, body).await;
    let body = json!({ "token": fresh[1], "deviceName": "spare" });
    let setup = ok(as_new("/api/auth/2fa/setup", body)).await;
    let mut spare = Authenticator::scan(&setup);
    let body = json!({ "token": spare.next().await });
    ok(as_new("/api/auth/2fa/verify", body)).await;
    app.forget(world, &account.id).await;
    let body = json!({ "token": app.next().await, "deviceId": spare.device });
    ok(as_new("/api/auth/2fa/disable", body)).await;
    ok(as_new(
        "/api/auth/2fa/disable",
        json!({ "token": fresh[2] }),
    ))
    .await;
    // Devices that are never confirmed: the oldest is removed.
    for _ in 0..7 {
        ok(as_new("/api/auth/2fa/setup", json!({}))).await;
    }
}

async fn mailed_codes(world: &World, client: &Client) {
    let ask = async |email: &str| code::ask(world, client, email).await;
    code::request(client, "ada@intranet").await; // which cannot sign up
    let unknown = code::confirm(client, &"0".repeat(64), "123456").await;
    assert_eq!(unknown.status, 401);
    // A stranger's account: its settings are removed.
    let account = client.register().await;
    client.enrol(&account).await;
    let (token, digits) = ask(&account.email).await;
    let wrong = code::confirm(client, &token, &code::other_than(&digits)).await;
    assert_eq!(wrong.status, 401);
    ok(code::confirm(client, &token, &digits)).await;
    // With a second factor.
    let account = passkey::proven(world, client).await;
    let (mut app, codes) = client.enrol(&account).await;
    for second in [app.next().await, codes[0].clone()] {
        let (token, digits) = ask(&account.email).await;
        let body = json!({ "requestToken": token, "code": digits, "twoFactorToken": second });
        ok(client.post("/api/auth/code/confirm", body)).await;
    }
    // On the device of the registration.
    let body = json!({ "email": unique_email(), "username": unique_username(), "password": unique_password() });
    let registered = ok(client.post("/api/auth/register", body.clone())).await;
    let email = body["email"].as_str().unwrap();
    let (token, digits) = ask(email).await;
    let body = json!({ "requestToken": token, "code": digits });
    let request = client.request(Method::POST, "/api/auth/code/confirm");
    let request = request.header("x-device-token", registered.text("deviceToken"));
    ok(client.send(request.json(&body))).await;
    // A new account.
    let (token, digits) = ask(&unique_email()).await;
    ok(code::confirm(client, &token, &digits)).await;
}

async fn passkeys(world: &World, client: &Client) {
    let account = passkey::proven(world, client).await;
    let passkey = &mut Passkey {
        counter: 1,
        ..Passkey::default()
    };
    let added = ok(passkey.register(client, &account.access)).await;
    passkey.counter = 2;
    ok(passkey.login(client)).await;
    assert_eq!(passkey.login(client).await.status, 401, "a copy");
    let id = &added["passkey"]["id"];
    let body = json!({ "password": account.password });
    ok(passkey::remove(client, &account.access, id, body)).await;
    let (mut app, codes) = client.enrol(&account).await;
    for code in [&app.next().await, &codes[0]] {
        let body = json!({ "twoFactorToken": code, "password": account.password });
        ok(passkey::register_options(client, &account.access, body)).await;
    }
    let mut options = json!({ "twoFactorToken": codes[1] });
    options = ok(passkey::register_options(client, &account.access, options))
        .await
        .body;
    let body = json!({ "credential": passkey.create(&options["publicKey"]) });
    ok(client.post_as(&account.access, "/api/auth/passkeys/register", body)).await;
    let token = world.mailed_token("two_factor_on", &account.email).await;
    ok(client.undo_two_factor(&token)).await;
    let leaving = passkey::proven(world, client).await;
    Passkey::of(client, &leaving).await;
    let deleted = client.delete_account(&leaving.access, &leaving.password);
    ok(deleted).await;
}

async fn other_providers(world: &World, client: &Client, provider: &FakeProvider) {
    let begun = oauth::start(client, FAKE).await;
    let unknown = oauth::login(client, &begun, &"0".repeat(64)).await;
    assert_eq!(unknown.status, 401);
    // A stranger's account: its settings are removed.
    let account = client.register().await;
    client.enrol(&account).await;
    provider.signed_in(client, verified(&account.email)).await;
    // With a second factor.
    let account = passkey::proven(world, client).await;
    let (mut app, codes) = client.enrol(&account).await;
    let claims = verified(&account.email);
    for (second, status) in [("000000", 401), (&app.next().await, 200), (&codes[0], 200)] {
        let (begun, fragment) = provider.answer(client, claims.clone()).await;
        let grant = oauth::grant(&fragment);
        let body = json!({ "grant": grant, "requestToken": begun.request_token, "twoFactorToken": second });
        let answer = client.post("/api/auth/oauth/login", body).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    // On the device of the registration.
    let body = json!({ "email": unique_email(), "username": unique_username(), "password": unique_password() });
    let registered = ok(client.post("/api/auth/register", body.clone())).await;
    let claims = verified(body["email"].as_str().unwrap());
    let (begun, fragment) = provider.answer(client, claims).await;
    let body = json!({ "grant": oauth::grant(&fragment), "requestToken": begun.request_token });
    let request = client.request(Method::POST, "/api/auth/oauth/login");
    let request = request.header("x-device-token", registered.text("deviceToken"));
    ok(client.send(request.json(&body))).await;
    // A new account, with the provider's tokens, and again.
    let claims = verified(&unique_email());
    let signed_in = provider.signed_in(client, claims.clone()).await;
    provider.signed_in(client, claims).await;
    let tokens = "/api/auth/oauth/links/fake/tokens";
    ok(client.get_as(&signed_in.text("accessToken"), tokens)).await;
    // Linked by a signed-in user, and unlinked; nobody else can link it.
    let account = passkey::proven(world, client).await;
    let claims = verified(&unique_email());
    ok(provider.link(client, &account, claims.clone())).await;
    let other = passkey::proven(world, client).await;
    assert_eq!(provider.link(client, &other, claims).await.status, 409);
    let path = format!("/api/auth/oauth/links/{FAKE}");
    for (password, status) in [("Wrong-7-horse", 403), (&account.password, 200)] {
        let (begun, fragment) = provider.answer(client, verified(&unique_email())).await;
        let grant = oauth::grant(&fragment);
        let body =
            json!({ "grant": grant, "requestToken": begun.request_token, "password": password });
        let link = client.post_as(&account.access, "/api/auth/oauth/link", body);
        assert_ne!(link.await.status, 200, "there is one already");
        let body = json!({ "password": password });
        let unlinked = client.delete_as(&account.access, &path, body).await;
        assert_eq!(unlinked.status, status, "{unlinked:?}");
    }
    // Removed with the second factor, and with the account.
    ok(provider.link(client, &account, verified(&unique_email()))).await;
    client.enrol(&account).await;
    let token = world.mailed_token("two_factor_on", &account.email).await;
    ok(client.undo_two_factor(&token)).await;
    let leaving = passkey::proven(world, client).await;
    ok(provider.link(client, &leaving, verified(&unique_email()))).await;
    ok(client.delete_account(&leaving.access, &leaving.password)).await;
}

async fn ending(client: &Client) {
    let leaving = client.register().await;
    let delete = async |password: &str| {
        let body = json!({ "password": password });
        client
            .delete_as(&leaving.access, "/api/auth/profile", body)
            .await
    };
    assert_eq!(delete(&unique_password()).await.status, 403);
    ok(delete(&leaving.password)).await;
    for code_of in ["device", "paper"] {
        let leaving = client.register().await;
        let (mut app, codes) = client.enrol(&leaving).await;
        let (code, spare) = match code_of {
            "device" => (codes[0].clone(), app.next().await),
            _ => (app.next().await, codes[0].clone()),
        };
        let new = unique_password();
        let body = json!({ "currentPassword": leaving.password, "newPassword": new, "twoFactorToken": code });
        let path = "/api/auth/change-password";
        ok(client.post_as(&leaving.access, path, body)).await;
        let body = json!({ "password": new, "twoFactorToken": spare });
        ok(client.delete_as(&leaving.access, "/api/auth/profile", body)).await;
    }
    let staying = client.register().await;
    let (first, _) = client.login(&staying).await;
    ok(client.logout(&first)).await;
    let everywhere = json!({ "allDevices": true });
    ok(client.post_as(&staying.access, "/api/auth/logout", everywhere)).await;
}

/// security.md 41.
#[tokio::test]
async fn a_function_gets_no_further_than_its_role() {
    let world = World::build().template(
        r#"dynamodb:LeadingKeys: ["USERNAME#*", "AUDIT#*"] }"#, // only in the policy of Profile
        r#"dynamodb:LeadingKeys: ["AUDIT#*", "DECOY#*"] }"#,
    );
    let Some(world) = world.start() else { return };
    let client = world.client();
    let account = client.register().await;

    let read = client.profile(&account.access).await;
    let body = json!({ "username": unique_username() });
    let write = client.update_profile(&account.access, body).await;

    assert_eq!((read.status.as_u16(), write.status.as_u16()), (200, 500));
    assert_eq!(write.code(), "internal_error");
    let log = world.log_lines().join("\n");
    assert!(log.contains("AccessDenied"), "{log}");
}

/// security.md 41: which functions reach the credentials, and which send mail.
#[test]
fn only_these_functions_reach_credentials_and_mail() {
    let functions = template().functions;

    let at_credentials: BTreeSet<&str> = functions
        .iter()
        .filter(|function| {
            function
                .rights
                .iter()
                .any(|right| right.table == "CredentialsTable")
        })
        .map(|function| function.name.as_str())
        .collect();
    // A function that may write a second factor may not write a password, and vice versa.
    let writes_password = |name: &str| {
        let function = functions.iter().find(|function| function.name == name);
        let mut rights = function.unwrap().rights.iter();
        rights.any(|right| {
            let is_write = ["PutItem", "UpdateItem"].contains(&right.action.as_str());
            let reaches = right.keys == "USER#";
            right.table == "CredentialsTable" && is_write && reaches
        })
    };

    let expected = [
        "change-password",
        "code-confirm",
        "delete-account",
        "login",
        "mail-events",
        "oauth-link",
        "oauth-login",
        "oauth-tokens",
        "oauth-unlink",
        "passkey-login",
        "passkey-register",
        "passkey-remove",
        "register",
        "reset-confirm",
        "two-factor-disable",
        "two-factor-setup",
        "two-factor-undo",
        "two-factor-verify",
        "verify-email",
    ];
    assert_eq!(at_credentials, expected.into());
    for name in ["setup", "verify", "disable", "undo"] {
        assert!(!writes_password(&format!("two-factor-{name}")), "{name}");
    }
    for name in ["login", "register", "remove"] {
        assert!(!writes_password(&format!("passkey-{name}")), "{name}");
    }
    assert!(
        writes_password("change-password"),
        "the check finds a function that writes passwords"
    );
    // A function that only adds to the audit log cannot change the user (security L9).
    for name in ["logout", "refresh", "sessions"] {
        let function = functions.iter().find(|function| function.name == name);
        let rights = function.unwrap().rights.iter();
        let writes = rights.filter(|right| right.action != "GetItem");
        for right in writes {
            assert!(right.keys != "USER#", "{name}");
        }
    }
    let text = harness::world::read("infra/functions.yaml");
    assert_eq!(text.matches("ses:SendEmail").count(), 1);
    let (_, mailer) = text.split_once("\n  Mailer:\n").unwrap();
    assert!(mailer.contains("ses:SendEmail"));
}
