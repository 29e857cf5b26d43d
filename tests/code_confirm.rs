//! `POST /api/auth/code/confirm`.

use futures_util::future::join_all;
use harness::client::{unique_email, unique_password};
use harness::token::parts;
use harness::{Account, Answer, Client, World, code, passkey};
use serde_json::{Value, json};

#[track_caller]
fn assert_refused(answer: &Answer, what: &str) {
    let seen = (answer.status.as_u16(), answer.code());
    assert_eq!(seen, (401, "code_invalid"), "{what}: {answer:?}");
}

#[tokio::test]
async fn a_code_signs_in_once_as_one_factor() {
    let Some(world) = World::with_mail() else {
        return;
    };
    let client = world.client();
    let account = passkey::proven(&world, &client).await;
    let (token, digits) = code::ask(&world, &client, &account.email).await;

    let typed = format!(" {} {} ", &digits[..3], &digits[3..]);
    let signed_in = code::confirm(&client, &token, &typed).await;

    assert_eq!(signed_in.status, 200, "{signed_in:?}");
    assert_eq!(signed_in["user"]["id"], account.id);
    let (_, claims) = parts(&signed_in.text("accessToken"));
    assert_eq!(claims["amr"], json!(["email"]));
    let again = code::confirm(&client, &token, &digits).await;
    assert_refused(&again, "a second time");
}

#[tokio::test]
async fn of_requests_at_the_same_moment_one_signs_in() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = passkey::proven(&world, &client).await;
    let (token, digits) = code::ask(&world, &client, &account.email).await;

    let answers = join_all((0..5).map(|_| code::confirm(&client, &token, &digits))).await;

    let done = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(done, 1, "{answers:?}");
}

/// security.md 53: a code that is read out to somebody else, or seen in the mailbox, is worth nothing elsewhere.
#[tokio::test]
async fn a_code_works_only_for_the_request_that_asked_for_it() {
    let Some(world) = World::with_mail() else {
        return;
    };
    let (client, thief) = (world.client(), world.client());
    let account = passkey::proven(&world, &client).await;
    let (token, digits) = code::ask(&world, &client, &account.email).await;
    let other = client.register().await;
    let of_thief = code::request(&thief, &other.email).await;

    for token in [of_thief, "0".repeat(64)] {
        let answer = code::confirm(&thief, &token, &digits).await;
        assert_refused(&answer, "another request");
    }
    let signed_in = code::confirm(&client, &token, &digits).await;
    assert_eq!(signed_in.status, 200, "{signed_in:?}");
}

/// security.md 54.
#[tokio::test]
async fn five_tries_from_any_address_use_a_code_up() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = passkey::proven(&world, &client).await;
    let (token, digits) = code::ask(&world, &client, &account.email).await;
    let wrong = code::other_than(&digits);

    // Fifty addresses at the same moment.
    let clients: Vec<Client> = (0..50).map(|_| world.client()).collect();
    let answers = clients
        .iter()
        .map(|client| code::confirm(client, &token, &wrong));
    for answer in join_all(answers).await {
        assert_refused(&answer, "a wrong code");
    }

    let right = code::confirm(&client, &token, &digits).await;
    assert_refused(&right, "the right code after five wrong ones");
    let audit = world.dynamodb().audit(&account.id).await;
    let failures = audit
        .iter()
        .filter(|(event, outcome)| (event.as_str(), outcome.as_str()) == ("code_login", "failure"));
    assert_eq!(failures.count(), 5, "{audit:?}");
    let record = world.dynamodb().user(&account.id).await;
    assert_eq!(record["failed_attempts"]["N"], "5", "towards the hundred");
}

#[tokio::test]
async fn a_code_is_over_after_ten_minutes() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = passkey::proven(&world, &client).await;
    let (token, digits) = code::ask(&world, &client, &account.email).await;
    let wrong = code::other_than(&digits);
    code::confirm(&client, &token, &wrong).await;
    // The registration's mail has a code as well.
    for key in world.redis_keys("mailed_code:*") {
        let redis = &mut world.redis();
        let ttl: i64 = redis::cmd("TTL").arg(&key).query(redis).unwrap();
        assert!(
            (500..=600).contains(&ttl),
            "a try does not prolong it: {ttl}"
        );
        let _: () = redis::cmd("DEL").arg(&key).query(redis).unwrap();
    }

    let late = code::confirm(&client, &token, &digits).await;

    assert_refused(&late, "too late");
}

/// security.md 55: whoever reads the mail still needs the second factor.
#[tokio::test]
async fn with_two_factor_authentication_the_code_of_the_app_is_required_too() {
    let Some(world) = World::with_mail() else {
        return;
    };
    let client = world.client();
    let account = passkey::proven(&world, &client).await;
    let (mut app, codes) = client.enrol(&account).await;
    let (token, digits) = code::ask(&world, &client, &account.email).await;
    let confirm = async |second: &str| {
        let body = json!({ "requestToken": token, "code": digits, "twoFactorToken": second });
        client.post("/api/auth/code/confirm", body).await
    };

    let without = code::confirm(&client, &token, &digits).await;
    assert_eq!(
        (without.status.as_u16(), without.code()),
        (403, "two_factor_required")
    );
    let wrong = confirm("000000").await;
    assert_eq!(
        (wrong.status.as_u16(), wrong.code()),
        (401, "two_factor_invalid")
    );
    let right = confirm(&app.next().await).await;
    assert_eq!(right.status, 200, "{right:?}");
    let (_, claims) = parts(&right.text("accessToken"));
    assert_eq!(claims["amr"], json!(["email", "otp", "mfa"]));

    let (token, digits) = code::ask(&world, &client, &account.email).await;
    let body = json!({ "requestToken": token, "code": digits, "twoFactorToken": codes[0] });
    let backup = client.post("/api/auth/code/confirm", body).await;
    assert_eq!(backup.status, 200, "{backup:?}");
    let others = client.profile(&right.text("accessToken")).await;
    assert_eq!(
        others.code(),
        "token_revoked",
        "a backup code ends the others"
    );
}

/// security.md 56: a stranger who registered the address first has neither password, session nor second factor there
/// once its owner has signed in.
#[tokio::test]
async fn the_owner_of_an_address_takes_over_what_a_stranger_registered() {
    let Some(world) = World::inside() else { return };
    let (stranger, owner) = (world.client(), world.client());
    let account = stranger.register().await;
    stranger
        .update_profile(&account.access, json!({ "name": "Mallory" }))
        .await;
    stranger.enrol(&account).await;

    let (token, digits) = code::ask(&world, &owner, &account.email).await;
    let signed_in = code::confirm(&owner, &token, &digits).await;

    assert_eq!(signed_in.status, 200, "{signed_in:?}");
    let user = &signed_in["user"];
    assert_eq!(user["emailVerified"], true);
    assert_eq!(user["twoFactorEnabled"], false);
    assert_eq!(
        (&user["name"], &user["username"]),
        (&Value::Null, &Value::Null)
    );
    let session = stranger.profile(&account.access).await;
    assert_eq!(session.code(), "token_revoked");
    let login = stranger.try_login(&account.email, &account.password).await;
    assert_eq!(login.code(), "invalid_credentials");
    let rejected = json!({ "token": world.rejection_token(&account.email).await, "reject": true });
    let rejected = stranger.post("/api/auth/verify-email", rejected).await;
    assert_eq!(rejected.code(), "invalid_verification_token");
    // The owner sets a password by mail.
    owner.request_reset(&account.email).await;
    let reset = world.mailed_token("reset_password", &account.email).await;
    let password = unique_password();
    let body = json!({ "token": reset, "newPassword": password });
    assert_eq!(owner.post("/reset-password", body).await.status, 200);
    assert_eq!(owner.try_login(&account.email, &password).await.status, 200);
}

#[tokio::test]
async fn on_the_device_of_the_registration_a_code_proves_the_address_and_keeps_the_account() {
    let Some(world) = World::build()
        .variable("REQUIRE_VERIFIED_EMAIL", "false")
        .start()
    else {
        return;
    };
    let client = world.client();
    let (email, password) = (unique_email(), unique_password());
    let body = json!({ "email": email, "password": password, "name": "Ada" });
    let registered = client.post("/api/auth/register", body).await;
    let (token, digits) = code::ask(&world, &client, &email).await;

    let body = json!({ "requestToken": token, "code": digits });
    let request = client.request(reqwest::Method::POST, "/api/auth/code/confirm");
    let request = request.header("x-device-token", registered.text("deviceToken"));
    let signed_in = client.send(request.json(&body)).await;

    assert_eq!(signed_in.status, 200, "{signed_in:?}");
    assert_eq!(signed_in["user"]["emailVerified"], true);
    assert_eq!(signed_in["user"]["name"], "Ada");
    assert_eq!(client.try_login(&email, &password).await.status, 200);
    let first = client.profile(&registered.text("accessToken")).await;
    assert_eq!(first.status, 200, "the session of the registration goes on");
}

#[tokio::test]
async fn an_address_without_an_account_signs_up_where_that_is_allowed() {
    let allowed = World::build().variable("SIGN_UP_BY_CODE", "true");
    let Some(world) = allowed.start() else { return };
    let client = world.client();
    let email = unique_email();
    let (token, digits) = code::ask(&world, &client, &email).await;
    let wrong = code::confirm(&client, &token, &code::other_than(&digits)).await;
    assert_refused(&wrong, "a wrong code");
    assert!(
        world.dynamodb().items("EMAIL#").await.is_empty(),
        "no account yet"
    );

    let signed_up = code::confirm(&client, &token, &digits).await;

    assert_eq!(signed_up.status, 200, "{signed_up:?}");
    assert_eq!(signed_up["user"]["email"], email);
    assert_eq!(signed_up["user"]["emailVerified"], true);
    assert_eq!(
        world.mails("new_device", &email).await,
        0,
        "its first device"
    );
    let nobody = client.try_login(&email, &unique_password()).await;
    assert_eq!(nobody.code(), "invalid_credentials", "it has no password");
    let (token, digits) = code::ask(&world, &client, &email).await;
    let again = code::confirm(&client, &token, &digits).await;
    assert_eq!(again["user"]["id"], signed_up["user"]["id"], "{again:?}");

    // Two codes for one new address make one account.
    let email = unique_email();
    let (first, first_code) = code::ask(&world, &client, &email).await;
    let (second, second_code) = code::ask(&world, &client, &email).await;
    let (one, other) = tokio::join!(
        code::confirm(&client, &first, &first_code),
        code::confirm(&client, &second, &second_code),
    );
    let claims = world.dynamodb().items("EMAIL#").await;
    assert_eq!(claims.len(), 2, "{one:?} {other:?}");
    assert!(
        one.status == 200 || other.status == 200,
        "{one:?} {other:?}"
    );
}

#[tokio::test]
async fn the_state_of_the_account_counts() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = passkey::proven(&world, &client).await;
    let (token, digits) = code::ask(&world, &client, &account.email).await;
    for (attribute, value, code) in [
        (
            "password_reset_required",
            json!({ "BOOL": true }),
            "password_reset_required",
        ),
        ("status", json!({ "S": "disabled" }), "account_disabled"),
        ("status", json!({ "S": "deleted" }), "code_invalid"),
    ] {
        if attribute == "status" {
            let not_required = json!({ "BOOL": false });
            world
                .dynamodb()
                .set_user(&account.id, "password_reset_required", not_required)
                .await;
        }
        world
            .dynamodb()
            .set_user(&account.id, attribute, value)
            .await;
        let answer = code::confirm(&client, &token, &digits).await;
        assert_eq!(answer.code(), code, "{answer:?}");
    }
    let active = json!({ "S": "active" });
    world
        .dynamodb()
        .set_user(&account.id, "status", active)
        .await;
    let signed_in = code::confirm(&client, &token, &digits).await;
    assert_eq!(signed_in.status, 200, "the code was not used up");
    let Account { access, .. } = account;
    assert_eq!(client.profile(&access).await.status, 200);
}

/// security.md 56: the owner of the address removes a stranger's account, and then types the code that was mailed while
/// it existed. The stranger's session does not come back with a new account.
#[tokio::test]
async fn a_code_of_an_account_that_was_removed_is_void() {
    let allowed = World::build().variable("SIGN_UP_BY_CODE", "true");
    let Some(world) = allowed.start() else { return };
    let (stranger, owner) = (world.client(), world.client());
    let account = stranger.register().await;
    let (token, digits) = code::ask(&world, &owner, &account.email).await;
    let rejection = world.rejection_token(&account.email).await;
    let body = json!({ "token": rejection, "reject": true });
    let removed = owner.post("/api/auth/verify-email", body).await;
    assert_eq!(removed.status, 200, "{removed:?}");

    let late = code::confirm(&owner, &token, &digits).await;

    assert_refused(&late, "its account is gone");
    let (token, digits) = code::ask(&world, &owner, &account.email).await;
    let signed_up = code::confirm(&owner, &token, &digits).await;
    assert_eq!(signed_up.status, 200, "{signed_up:?}");
    assert_ne!(signed_up["user"]["id"], account.id);
    let session = stranger.profile(&account.access).await;
    assert_eq!(session.code(), "token_revoked");
}

/// security.md 54: a right password does not clear the count of guessed codes.
#[tokio::test]
async fn thirty_wrong_codes_of_an_address_void_its_codes_for_a_day() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = passkey::proven(&world, &client).await;
    for _ in 0..6 {
        let (token, digits) = code::ask(&world, &client, &account.email).await;
        for _ in 0..5 {
            let guess = code::confirm(&client, &token, &code::other_than(&digits)).await;
            assert_refused(&guess, "a guess");
        }
        let login = client.try_login(&account.email, &account.password).await;
        assert_eq!(login.status, 200, "{login:?}");
    }

    let (token, digits) = code::ask(&world, &client, &account.email).await;
    let right = code::confirm(&client, &token, &digits).await;

    assert_refused(&right, "the thirty-first");
    let ttl = world.redis_keys("mailed_code_failures:*");
    assert_eq!(ttl.len(), 1);
    let other = passkey::proven(&world, &client).await;
    let (token, digits) = code::ask(&world, &client, &other.email).await;
    let signed_in = code::confirm(&client, &token, &digits).await;
    assert_eq!(signed_in.status, 200, "another address: {signed_in:?}");
}
