//! `POST /api/auth/password-reset/confirm`.

use futures_util::future::join_all;
use harness::client::{unique_email, unique_password};
use harness::peers::Fault;
use harness::{Account, Answer, Client, World, code, until};
use reqwest::Method;
use serde_json::{Value, json};

const PATH: &str = "/api/auth/password-reset/confirm";

async fn request(world: &World, account: &Account) -> String {
    let body = json!({ "email": account.email });
    let answer = world
        .client()
        .post("/api/auth/password-reset/request", body)
        .await;
    assert_eq!(answer.status, 200);
    world.mailed_token("reset_password", &account.email).await
}

async fn confirm(client: &Client, token: &str, password: &str) -> Answer {
    client
        .post(PATH, json!({ "token": token, "newPassword": password }))
        .await
}

/// A sign-in writes to both stores at once: here its record comes before the reset, and its session after it.
/// security.md 24.
#[tokio::test]
async fn a_sign_in_under_way_does_not_outlive_a_reset() {
    let world = World::build().behind_redis_proxy().await;
    let Some((world, proxy, redis)) = world else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let token = request(&world, &account).await;
    // Make the requests that a process makes only once.
    client.login(&account).await;
    confirm(&client, "unknown", &unique_password()).await;
    // The user agent is sent to Redis before the password is compared, and again with the session.
    let agent = "held back";
    proxy.hold_back(agent, 1);
    let body = json!({ "email": account.email, "password": account.password });
    let request = client.request(Method::POST, "/api/auth/login");
    let request = request.header("user-agent", agent).json(&body);
    let signing_in = tokio::spawn(async move { client.send(request).await });
    proxy.wait_until_held().await;
    let dynamodb = world.dynamodb();
    let entry = |outcome: &str| ("login".to_owned(), outcome.to_owned());
    let is_recorded = async || {
        let entries = dynamodb.audit(&account.id).await;
        let successes = entries.iter().filter(|other| **other == entry("success"));
        successes.count() == 2
    };
    until("the record of the sign-in", is_recorded).await;

    let new = unique_password();
    let answer = confirm(&world.client(), &token, &new).await;
    proxy.release();

    assert_eq!(answer.status, 200, "{answer:?}");
    let signed_in = signing_in.await.unwrap();
    // It began with the old password: its session is of the earlier session epoch, and already over.
    assert_eq!(signed_in.status, 200, "{signed_in:?}");
    let late = world.client();
    let profile = late.profile(&signed_in.text("accessToken")).await;
    assert_eq!(profile.code(), "token_revoked", "{profile:?}");
    let refreshed = late.refresh(&signed_in.text("refreshToken")).await;
    assert_eq!(refreshed.code(), "refresh_token_invalid", "{refreshed:?}");
    let anew = login(&world.client(), &account, &new).await;
    assert_eq!(anew.status, 200, "{anew:?}");
    let redis = redis::Client::open(redis.url.as_str()).unwrap();
    let sessions = harness::world::sessions(&mut redis.get_connection().unwrap());
    assert_eq!(sessions.len(), 1, "{sessions:?}");
}

async fn login(client: &Client, account: &Account, password: &str) -> Answer {
    let body = json!({ "email": account.email, "password": password });
    client.post("/api/auth/login", body).await
}

/// security.md 24 and 29.
#[tokio::test]
async fn a_reset_ends_every_session_and_signs_nobody_in() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let (other, _) = client.login(&account).await;
    let token = request(&world, &account).await;
    let new = unique_password();

    let answer = confirm(&client, &token, &new).await;

    assert_eq!(answer.status, 200);
    assert!(answer.body.get("accessToken").is_none(), "{answer:?}");
    for access in [&account.access, &other] {
        assert_eq!(client.profile(access).await.code(), "token_revoked");
    }
    let refreshed = client.refresh(&account.refresh).await;
    assert_eq!(refreshed.code(), "refresh_token_invalid");
    let old = login(&client, &account, &account.password).await;
    assert_eq!(old.code(), "invalid_credentials");
    let signed_in = login(&client, &account, &new).await;
    assert_eq!(
        signed_in["user"]["emailVerified"], true,
        "the reset has proven the address"
    );
}

#[tokio::test]
async fn two_factor_stays_on() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    for attribute in ["two_factor_enabled", "email_verified"] {
        let on = json!({ "BOOL": true });
        world.dynamodb().set_user(&account.id, attribute, on).await;
    }
    let token = request(&world, &account).await;

    confirm(&client, &token, &unique_password()).await;

    let user = world.dynamodb().user(&account.id).await;
    assert_eq!(user["two_factor_enabled"]["BOOL"], true);
}

/// security S1, bugs 1: a stranger has registered the address and set up a profile and a second factor; then the owner
/// of the address proves it.
#[tokio::test]
async fn the_first_proof_of_an_address_by_a_reset_leaves_nothing_of_what_was_set_up_before() {
    let Some(world) = World::inside() else { return };
    let (stranger, owner) = (world.client(), world.client());
    let account = stranger.register().await;
    let (_, codes) = stranger.enrol(&account).await;
    stranger
        .set_up_two_factor(&account.access, json!({ "token": codes[0] }))
        .await;
    let profile = json!({ "name": "Stranger", "avatarUrl": "https://pictures.example/a.png" });
    stranger.update_profile(&account.access, profile).await;
    let reject = world.mailed_token("verify_email", &account.email).await;
    let token = request(&world, &account).await;
    let new = unique_password();

    let answer = confirm(&owner, &token, &new).await;

    assert_eq!(answer.status, 200, "{answer:?}");
    let signed_in = login(&owner, &account, &new).await;
    assert_eq!(signed_in.status, 200, "{signed_in:?}");
    let access = signed_in.text("accessToken");
    let profile = owner.profile(&access).await;
    let user = &profile["user"];
    for field in ["username", "name", "avatarUrl"] {
        assert!(user[field].is_null(), "{field}: {profile:?}");
    }
    assert_eq!(user["twoFactorEnabled"], false);
    assert_eq!(profile["twoFactor"]["backupCodesLeft"], 0);
    assert_eq!(profile["twoFactor"]["devices"], json!([]));
    let dynamodb = world.dynamodb();
    for prefix in ["TOTP#", "CODE#", "USERNAME#", "REJECT#"] {
        assert!(dynamodb.items(prefix).await.is_empty(), "{prefix}");
    }
    assert_eq!(
        stranger.profile(&account.access).await.code(),
        "token_revoked"
    );
    let body = json!({ "token": reject, "reject": true });
    let late = stranger.post("/api/auth/verify-email", body).await;
    assert_eq!(
        late.code(),
        "invalid_verification_token",
        "the address is proven"
    );
    let body = json!({ "email": harness::client::unique_email(), "username": account.username, "password": new });
    let free = stranger.post("/api/auth/register", body).await;
    assert_eq!(free.status, 201, "the username is free: {free:?}");
}

/// What a proven owner has set up stays.
#[tokio::test]
async fn a_reset_of_a_proven_account_changes_nothing_but_the_password() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let proof = world.mailed_token("verify_email", &account.email).await;
    client.verify_email(&account, &proof).await;
    client.enrol(&account).await;
    let token = request(&world, &account).await;
    let new = unique_password();

    confirm(&client, &token, &new).await;

    let signed_in = login(&client, &account, &new).await;
    assert_eq!(signed_in.code(), "two_factor_required");
    let user = world.dynamodb().user(&account.id).await;
    assert_eq!(user["username"]["S"], account.username.as_str());
    assert_eq!(world.dynamodb().items("CODE#").await.len(), 10);
}

/// security.md 27.
#[tokio::test]
async fn a_token_works_once_also_under_fifty_tries_at_once() {
    let Some(world) = World::inside() else {
        return;
    };
    let account = world.client().register().await;
    let token = request(&world, &account).await;
    let tries = (0..50).map(|_| {
        let (client, token, password) = (world.client().patient(), &token, unique_password());
        async move { (confirm(&client, token, &password).await, password) }
    });

    let (mut winners, mut unknown) = (Vec::new(), 0);
    for (answer, password) in join_all(tries).await {
        unknown += usize::from(answer.was_repeated);
        match answer.status.as_u16() {
            200 => winners.push(password),
            _ => assert_eq!(answer.code(), "invalid_reset_token"),
        }
    }

    assert!(winners.len() == 1 || winners.is_empty() && unknown > 0);
    let client = world.client();
    if let Some(password) = winners.first() {
        assert_eq!(login(&client, &account, password).await.status, 200);
    }
    let late = confirm(&client, &token, &unique_password()).await;
    assert_eq!(late.code(), "invalid_reset_token");
    assert_eq!(world.mails("password_was_reset", &account.email).await, 1);
}

/// security.md 27.
#[tokio::test]
async fn a_newer_request_voids_the_older_ones() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let mut tokens = Vec::new();
    for _ in 0..5 {
        tokens.push(request(&world, &account).await);
    }
    let newest = tokens.pop().unwrap();

    for token in tokens {
        let answer = confirm(&client, &token, &unique_password()).await;
        assert_eq!(answer.code(), "invalid_reset_token");
    }
    assert_eq!(
        confirm(&client, &newest, &unique_password()).await.status,
        200
    );
}

/// security.md 3: a refused password does not use up the token.
#[tokio::test]
async fn a_refused_password_leaves_the_token_valid() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let token = request(&world, &account).await;
    for (password, reason) in [
        ("Short1x", "must be at least 8 characters long"),
        ("Password123", "is one of the most common passwords"),
        (account.email.as_str(), "must not be the email address"),
        (account.username.as_str(), "must not be the username"),
    ] {
        let answer = confirm(&client, &token, password).await;

        assert!(answer.names(&["newPassword"]), "{answer:?}");
        assert!(
            answer.messages("newPassword").contains(&reason),
            "{answer:?}"
        );
    }
    assert_eq!(
        client.profile(&account.access).await.status,
        200,
        "the session continues"
    );

    assert_eq!(
        confirm(&client, &token, &unique_password()).await.status,
        200
    );
}

#[tokio::test]
async fn a_malformed_token_is_told_apart_from_one_that_is_not_valid() {
    let world = World::start();
    let client = world.client();

    let malformed = confirm(&client, "0123", &unique_password()).await;
    let unknown = confirm(&client, &"0".repeat(64), &unique_password()).await;

    assert!(malformed.names(&["token"]), "{malformed:?}");
    assert_eq!(
        (unknown.status.as_u16(), unknown.code()),
        (400, "invalid_reset_token")
    );
}

/// security.md 10.
#[tokio::test]
async fn a_disabled_or_deleted_account_cannot_be_reset() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    for status in ["disabled", "deleted"] {
        let account = client.register().await;
        let token = request(&world, &account).await;
        let status = json!({ "S": status });
        world
            .dynamodb()
            .set_user(&account.id, "status", status)
            .await;

        let answer = confirm(&client, &token, &unique_password()).await;

        assert_eq!(answer.code(), "invalid_reset_token");
    }
}

/// A mailed token of one kind is not valid as another kind.
#[tokio::test]
async fn a_verification_token_resets_nothing() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let verification = world.mailed_token("verify_email", &account.email).await;

    let answer = confirm(&client, &verification, &unique_password()).await;

    assert_eq!(answer.code(), "invalid_reset_token");
}

/// A failure between the steps does not use up the token.
#[tokio::test]
async fn a_store_that_fails_leaves_the_token_valid() {
    let Some((world, faulty)) = World::build().behind_faulty_dynamodb().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let token = request(&world, &account).await;

    faulty.fail(vec![Fault::throttled("TransactWriteItems"); 3]);
    let failed = confirm(&client, &token, &unique_password()).await;
    let new = unique_password();
    let again = confirm(&client, &token, &new).await;

    assert_eq!(
        (failed.code(), again.status.as_u16()),
        ("service_unavailable", 200)
    );
    assert_eq!(login(&client, &account, &new).await.status, 200);
}

#[tokio::test]
async fn the_aliases_do_the_same() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    for path in ["/reset-password", "/api/auth/reset-password"] {
        let token = request(&world, &account).await;
        let body = json!({ "token": token, "newPassword": unique_password() });

        assert_eq!(client.post(path, body).await.status, 200, "{path}");
    }
}

/// security.md 20.
#[tokio::test]
async fn refreshes_racing_a_reset_leave_no_usable_token() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    for _ in 0..20 {
        let account = client.register().await;
        let token = request(&world, &account).await;

        let (refreshed, reset) = tokio::join!(
            client.refresh(&account.refresh),
            confirm(&client, &token, "A-new-passphrase-7"),
        );

        assert_eq!(reset.status, 200);
        let refresh = refreshed["refreshToken"]
            .as_str()
            .unwrap_or(&account.refresh);
        let answer = client.refresh(refresh).await;
        assert_eq!(answer.code(), "refresh_token_invalid");
    }
}

/// security.md 53 and 54: the mail has a code beside its link, for the client that asked, because some mail gateways drop
/// the part of a link after `#`.
#[tokio::test]
async fn the_code_of_the_mail_sets_a_password_for_the_one_who_asked() {
    let Some(world) = World::with_mail() else {
        return;
    };
    let (client, thief) = (world.client(), world.client());
    let account = client.register().await;
    let asked = client.request_reset(&account.email).await;
    let unknown = thief.request_reset(&unique_email()).await;
    assert_eq!(
        asked.fields(),
        unknown.fields(),
        "the same for every address"
    );
    let digits = code::of_mail(&world, &account.email, "Reset your").await;
    let password = unique_password();
    let confirm = async |asked: &Answer, code: &str| {
        let body =
            json!({ "requestToken": asked["requestToken"], "code": code, "newPassword": password });
        client.post("/api/auth/password-reset/confirm", body).await
    };

    let stolen = confirm(&unknown, &digits).await;
    assert_eq!(stolen.code(), "invalid_reset_token", "another request");
    let body = json!({ "requestToken": asked["requestToken"], "code": digits });
    let sign_in = client.post("/api/auth/code/confirm", body).await;
    assert_eq!(sign_in.code(), "code_invalid", "it is not for signing in");
    let asked = client.request_reset(&account.email).await;
    let digits = until_other(&world, &account.email, &digits).await;
    let set = confirm(&asked, &digits).await;
    assert_eq!(set.status, 200, "{set:?}");
    let again = confirm(&asked, &digits).await;
    assert_eq!(again.code(), "invalid_reset_token", "once");
    assert_eq!(
        client.try_login(&account.email, &password).await.status,
        200
    );
}

/// Returns the code of the newest mail once it is another one.
async fn until_other(world: &World, email: &str, old: &str) -> String {
    harness::until("the next mail", async || {
        code::of_mail(world, email, "Reset your").await != old
    })
    .await;
    code::of_mail(world, email, "Reset your").await
}

/// security.md 54.
#[tokio::test]
async fn wrong_codes_use_the_code_up_and_after_thirty_only_the_link_works() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let ask = async || client.request_reset(&account.email).await["requestToken"].clone();
    let confirm = async |kept: &Value, code: &str| {
        let body = json!({ "requestToken": kept, "code": code, "newPassword": unique_password() });
        client.post("/api/auth/password-reset/confirm", body).await
    };
    let kept = ask().await;
    let digits = code::of_mail(&world, &account.email, "Reset your").await;
    for _ in 0..5 {
        let wrong = confirm(&kept, &code::other_than(&digits)).await;
        assert_eq!(wrong.code(), "invalid_reset_token");
    }
    let right = confirm(&kept, &digits).await;
    assert_eq!(right.code(), "invalid_reset_token", "{right:?}");
    let mut digits = digits;
    for _ in 0..5 {
        let kept = ask().await;
        digits = until_other(&world, &account.email, &digits).await;
        for _ in 0..5 {
            confirm(&kept, &code::other_than(&digits)).await;
        }
    }
    let kept = ask().await;
    digits = until_other(&world, &account.email, &digits).await;
    let right = confirm(&kept, &digits).await;
    assert_eq!(right.code(), "invalid_reset_token", "{right:?}");
    let token = world.mailed_token("reset_password", &account.email).await;
    let body = json!({ "token": token, "newPassword": unique_password() });
    let set = client.post("/api/auth/password-reset/confirm", body).await;
    assert_eq!(set.status, 200, "{set:?}");
}

#[tokio::test]
async fn either_the_token_or_the_code_is_required() {
    let world = World::start();
    let client = world.client();
    let token = "0".repeat(64);
    for body in [
        json!({}),
        json!({ "requestToken": token }),
        json!({ "code": "123456" }),
        json!({ "token": token, "code": "123456" }),
        json!({ "token": token, "requestToken": token, "code": "123456" }),
    ] {
        for path in ["/api/auth/password-reset/confirm", "/api/auth/verify-email"] {
            let mut body = body.clone();
            if path.contains("reset") {
                body["newPassword"] = unique_password().into();
            }
            let answer = client.post(path, body).await;
            assert!(answer.names(&["token"]), "{path}: {answer:?}");
            assert_eq!(answer["details"][0]["code"], "exactly_one", "{path}");
        }
    }
}
