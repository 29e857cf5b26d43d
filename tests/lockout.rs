//! Wrong passwords lock an account for a while, no matter who tries them and from where.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::client::{unique, unique_email, unique_password};
use harness::peers::Fault;
use harness::{Account, Answer, Client, World, token};
use reqwest::Method;
use serde_json::{Value, json};

const LOGIN: &str = "/api/auth/login";
const GUARD_SECRET: &str = "a secret of what guards, of 32 bytes or more";

async fn try_password(client: &Client, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    client.post(LOGIN, body).await
}

async fn try_from_device(client: &Client, token: &str, email: &str, password: &str) -> Answer {
    let request = client.request(Method::POST, LOGIN);
    let request = request.header("x-device-token", token);
    let body = json!({ "email": email, "password": password });
    client.send(request.json(&body)).await
}

/// Locks an account with wrong passwords, each from another address.
async fn lock(world: &World, email: &str) {
    for _ in 0..5 {
        let answer = try_password(&world.client(), email, "Wrong-7-horse").await;
        assert_eq!(answer.code(), "invalid_credentials");
    }
}

/// security.md 6, 9 and 10.
#[tokio::test]
async fn five_wrong_passwords_from_anywhere_lock_an_account_whether_it_exists_or_not() {
    let Some(world) = World::inside() else { return };
    let account = world.client().register().await;
    let (unknown, deleted) = (unique_email(), world.client().register().await);
    let body = json!({ "password": deleted.password });
    let client = world.client();
    client
        .delete_as(&deleted.access, "/api/auth/profile", body)
        .await;

    let mut answers = Vec::new();
    for email in [&account.email, &unknown, &deleted.email] {
        lock(&world, email).await;
        let mut answer = try_password(&world.client(), email, &account.password).await;
        assert_eq!(answer.code(), "account_locked");
        let (policy, left, seconds) = answer.rate_limit().unwrap();
        assert_eq!((policy.as_str(), left), ("login-lockout", 0));
        assert!((890..=900).contains(&seconds), "{seconds}");
        assert_eq!(
            answer.header("ratelimit-policy"),
            Some("\"login-lockout\";q=5;w=900")
        );
        for header in ["x-request-id", "date", "ratelimit", "retry-after"] {
            answer.headers.remove(header);
        }
        for field in ["requestId", "retryAfter"] {
            answer.body[field] = Value::Null;
        }
        answers.push((answer.status, answer.headers, answer.body));
    }

    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    // The account's sessions continue.
    assert_eq!(world.client().profile(&account.access).await.status, 200);
    assert_eq!(world.client().refresh(&account.refresh).await.status, 200);
    // The lock is in the audit log; the attempts refused since then are only in the log.
    let log = world.log().into_iter();
    let attempts =
        log.filter(|line| line["audit"] == "locked_attempt" && line["user_id"] == account.id);
    assert_eq!(attempts.count(), 1);
    let locks = world.dynamodb().audit(&account.id).await.into_iter();
    assert_eq!(
        locks.filter(|(event, _)| event == "account_lock").count(),
        1
    );
}

/// security.md 9: many addresses against one account.
#[tokio::test]
async fn of_two_hundred_addresses_five_get_to_try_an_account() {
    let Some(world) = World::inside() else { return };
    let account = world.client().register().await;
    let mut tried = 0;
    for _ in 0..200 {
        let answer = try_password(&world.client(), &account.email, &unique_password()).await;
        tried += usize::from(answer.code() == "invalid_credentials");
    }

    assert_eq!(tried, 5);
}

/// Tries fifty wrong passwords at once, each from another address.
async fn fifty_at_once(world: &World, email: &str) -> Vec<Answer> {
    let tries = (0..50).map(|_| {
        let client = world.client().patient();
        async move { try_password(&client, email, "Wrong-7-horse").await }
    });
    join_all(tries).await
}

#[tokio::test]
async fn of_fifty_tries_at_once_exactly_five_are_compared() {
    let Some(world) = World::inside() else { return };
    let account = world.client().register().await;

    let answers = fifty_at_once(&world, &account.email).await;

    let (mut compared, mut unknown) = (0, 0);
    for answer in answers {
        match answer.code() {
            "invalid_credentials" => compared += 1,
            code => assert_eq!(code, "account_locked"),
        }
        unknown += usize::from(answer.was_repeated);
    }
    assert!(compared <= 5 && compared + unknown >= 5, "{compared}");
}

#[tokio::test]
async fn a_success_forgives_the_failures_before_it() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    for _ in 0..3 {
        for _ in 0..4 {
            let wrong = try_password(&client, &account.email, "Wrong-7-horse").await;
            assert_eq!(wrong.code(), "invalid_credentials");
        }

        let right = try_password(&client, &account.email, &account.password).await;

        assert_eq!(right.status, 200);
    }
}

#[tokio::test]
async fn the_lock_ends_when_the_window_allows() {
    let world = World::build().variable("LOGIN_LOCKOUT", "2/6s");
    let Some(world) = world.start() else { return };
    let client = world.client();
    let account = client.register().await;
    for _ in 0..2 {
        try_password(&client, &account.email, "Wrong-7-horse").await;
    }
    let locked = try_password(&client, &account.email, &account.password).await;
    assert_eq!(locked.code(), "account_locked");
    let promised = Instant::now() + Duration::from_secs(locked["retryAfter"].as_u64().unwrap());

    loop {
        let asked = Instant::now();
        let answer = try_password(&client, &account.email, &account.password).await;
        if answer.status == 200 {
            break;
        }
        assert!(
            answer.code() == "account_locked" && asked < promised,
            "{answer:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Wrong passwords at reauthentication count per session.
#[tokio::test]
async fn wrong_passwords_of_a_session_lock_that_session_alone() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let change = async |current: &str| {
        let body = json!({ "currentPassword": current, "newPassword": unique_password() });
        client.change_password(&account.access, body).await
    };
    let delete = async |password: &str| {
        let body = json!({ "password": password });
        client
            .delete_as(&account.access, "/api/auth/profile", body)
            .await
    };
    for _ in 0..2 {
        assert_eq!(change("Wrong-7-horse").await.code(), "invalid_credentials");
        assert_eq!(delete("Wrong-7-horse").await.code(), "invalid_credentials");
    }
    change("Wrong-7-horse").await;

    for answer in [
        change(&account.password).await,
        delete(&account.password).await,
    ] {
        assert_eq!(answer.code(), "account_locked");
        assert_eq!(answer.rate_limit().unwrap().0, "reauthentication-lockout");
    }
    let login = try_password(&client, &account.email, &account.password).await;
    assert_eq!(login.status, 200, "{login:?}");
}

/// security L3: at the very moment when the owner needs a new password.
#[tokio::test]
async fn strangers_do_not_keep_a_signed_in_owner_from_a_new_password() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    lock(&world, &account.email).await;
    let new = unique_password();

    let body = json!({ "currentPassword": account.password, "newPassword": new });
    let changed = client.change_password(&account.access, body).await;
    let body = json!({ "password": new });
    let deleted = client
        .delete_as(&account.access, "/api/auth/profile", body)
        .await;

    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(deleted.status, 200, "{deleted:?}");
}

/// security S3: failures with an address typed as a username, or with letters whose lower case is that of another
/// letter, do not count for the real address or username.
#[tokio::test]
async fn an_identifier_that_no_account_can_have_locks_no_account_and_tells_nothing() {
    let Some(world) = World::inside() else { return };
    let account = world.client().register().await;
    let unknown = unique_email();
    for email in [&account.email, &unknown] {
        for _ in 0..5 {
            let body = json!({ "username": email, "password": "Wrong-7-horse" });
            world.client().post(LOGIN, body).await;
        }
        let answer = try_password(&world.client(), email, "Wrong-7-horse").await;
        assert_eq!(answer.code(), "invalid_credentials", "{email}");
    }

    let names = [account.username.clone(), unique("Ada_")];
    for name in &names {
        // The lower case of the Kelvin sign is k; that of the dotted capital I begins with i.
        let odd = name.replace('A', "\u{212a}");
        for _ in 0..5 {
            let body = json!({ "username": odd, "password": "Wrong-7-horse" });
            world.client().post(LOGIN, body).await;
        }
        let body = json!({ "username": name.replace('A', "k"), "password": "Wrong-7-horse" });
        let answer = world.client().post(LOGIN, body).await;
        assert_eq!(answer.code(), "invalid_credentials", "{name}");
    }
}

/// security L1: nobody learns which address belongs to a username.
#[tokio::test]
async fn a_lock_of_an_address_is_none_of_its_username() {
    let Some(world) = World::inside() else { return };
    let account = world.client().register().await;
    lock(&world, &account.email).await;

    let by_name = json!({ "username": account.username, "password": "Wrong-7-horse" });
    let by_name = world.client().post(LOGIN, by_name).await;

    assert_eq!(by_name.code(), "invalid_credentials");
    let by_address = try_password(&world.client(), &account.email, "Wrong-7-horse").await;
    assert_eq!(by_address.code(), "account_locked");
}

/// An account allows a limited number of attempts, whatever name is typed; so does one that does not exist.
#[tokio::test]
async fn an_account_has_a_limit_of_its_own_whatever_was_typed() {
    let world = World::build().variable("ACCOUNT_LOCKOUT", "7/15m");
    let Some(world) = world.start() else { return };
    let account = world.client().register().await;
    let by_name = async |password: &str| {
        let body = json!({ "username": account.username, "password": password });
        world.client().post(LOGIN, body).await
    };
    lock(&world, &account.email).await;
    for _ in 0..2 {
        assert_eq!(by_name("Wrong-7-horse").await.code(), "invalid_credentials");
    }

    let locked = by_name(&account.password).await;

    assert_eq!(locked.code(), "account_locked");
    assert_eq!(locked.rate_limit().unwrap().0, "account-lockout");
    reset(&world, &account, "Another-7-horse").await;
    let email = try_password(&world.client(), &account.email, "Another-7-horse").await;
    assert_eq!(email.status, 200, "{email:?}");
}

/// security I3: a reader of Redis finds neither addresses by trying them, nor a password typed into the wrong field.
#[tokio::test]
async fn a_typed_identifier_is_counted_under_a_keyed_hash() {
    let Some(world) = World::inside() else { return };
    let email = unique_email();
    try_password(&world.client(), &email, "Wrong-7-horse").await;
    let client = world.client();
    client.request_reset(&email).await;

    let keys = world.redis_keys("*").join("\n");

    assert!(keys.contains("login_failures:{"), "{keys}");
    for text in [
        email.clone(),
        format!("email:{email}"),
        format!("impossible:{email}"),
    ] {
        let plain = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        assert!(!keys.contains(&hex::encode(plain)), "{text}: {keys}");
    }
}

/// security L10, NIST SP 800-63B-4, 3.2.2: no matter how slowly the failures come.
#[tokio::test]
async fn a_hundred_failures_in_a_row_end_in_a_new_password_by_mail() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let dynamodb = world.dynamodb();
    let failures = |count: u32| json!({ "N": count.to_string() });
    dynamodb
        .set_user(&account.id, "failed_attempts", failures(98))
        .await;
    try_password(&client, &account.email, "Wrong-7-horse").await;
    assert_eq!(
        try_password(&client, &account.email, &account.password)
            .await
            .status,
        200
    );
    let user = dynamodb.user(&account.id).await;
    assert_eq!(
        user["failed_attempts"]["N"], "0",
        "a success resets the counter"
    );

    dynamodb
        .set_user(&account.id, "failed_attempts", failures(99))
        .await;
    let last = try_password(&client, &account.email, "Wrong-7-horse").await;
    let right = try_password(&client, &account.email, &account.password).await;
    let wrong = try_password(&client, &account.email, "Wrong-7-horse").await;

    assert_eq!(last.code(), "invalid_credentials");
    assert_eq!(
        (right.status.as_u16(), right.code()),
        (403, "password_reset_required")
    );
    assert_eq!(wrong.code(), "invalid_credentials");
    assert_eq!(world.mails("reset_required", &account.email).await, 1);
    assert_eq!(
        client.profile(&account.access).await.status,
        200,
        "a session continues"
    );
    let token = world.mailed_token("reset_required", &account.email).await;
    let body = json!({ "token": token, "newPassword": "Another-7-horse" });
    assert_eq!(client.post("/reset-password", body).await.status, 200);
    let signed_in = try_password(&client, &account.email, "Another-7-horse").await;
    assert_eq!(signed_in.status, 200, "{signed_in:?}");
}

/// A signed-in user can set a new password as well.
#[tokio::test]
async fn a_signed_in_owner_sets_a_new_password_after_a_hundred_failures() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let failures = json!({ "N": "99" });
    let dynamodb = world.dynamodb();
    dynamodb
        .set_user(&account.id, "failed_attempts", failures)
        .await;
    try_password(&client, &account.email, "Wrong-7-horse").await;
    let right = try_password(&client, &account.email, &account.password).await;
    assert_eq!(right.code(), "password_reset_required");

    let new = unique_password();
    let body = json!({ "currentPassword": account.password, "newPassword": new });
    let changed = client.change_password(&account.access, body).await;

    assert_eq!(changed.status, 200, "{changed:?}");
    let login = try_password(&client, &account.email, &new).await;
    assert_eq!(login.status, 200, "{login:?}");
}

/// An owner who has proven the address by mail can sign in again.
#[tokio::test]
async fn a_reset_unlocks_the_account() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    lock(&world, &account.email).await;
    let new = unique_password();

    reset(&world, &account, &new).await;

    assert_eq!(
        try_password(&client, &account.email, &new).await.status,
        200
    );
}

async fn reset(world: &World, account: &Account, new: &str) {
    let client = world.client();
    let body = json!({ "email": account.email });
    client.post("/forgot-password", body).await;
    let token = world.mailed_token("reset_password", &account.email).await;
    let body = json!({ "token": token, "newPassword": new });
    assert_eq!(client.post("/reset-password", body).await.status, 200);
}

async fn register_with_device(world: &World) -> (Account, String) {
    let (client, email, password) = (world.client(), unique_email(), unique_password());
    let username = unique("Ada_");
    let body = json!({ "email": email, "username": username, "password": password });
    let answer = client.post("/api/auth/register", body).await;
    let account = Account {
        id: answer["user"]["id"].as_str().unwrap().to_owned(),
        email,
        username,
        password,
        access: answer.text("accessToken"),
        refresh: answer.text("refreshToken"),
    };
    (account, answer.text("deviceToken"))
}

/// security.md 11.
#[tokio::test]
async fn strangers_who_lock_an_account_do_not_lock_out_its_owners_device() {
    let Some(world) = World::inside() else { return };
    let (account, device) = register_with_device(&world).await;
    lock(&world, &account.email).await;
    let client = world.client();

    let owner = try_from_device(&client, &device, &account.email, &account.password).await;

    assert_eq!(owner.status, 200, "{owner:?}");
    // The strangers stay locked out, and this login's device token works as well.
    let stranger = try_password(&world.client(), &account.email, &account.password).await;
    assert_eq!(stranger.code(), "account_locked");
    let renewed = owner.text("deviceToken");
    let by_cookie = client.request(Method::POST, LOGIN);
    let by_cookie = by_cookie.header("cookie", format!("a=b; __Host-device={renewed}"));
    let body = json!({ "email": account.email, "password": account.password });
    assert_eq!(client.send(by_cookie.json(&body)).await.status, 200);
}

/// security.md 11.
#[tokio::test]
async fn a_device_has_a_bucket_of_its_own_with_the_same_limit() {
    let Some(world) = World::inside() else { return };
    let (account, device) = register_with_device(&world).await;
    let client = world.client();
    for _ in 0..5 {
        let wrong = try_from_device(&client, &device, &account.email, "Wrong-7-horse").await;
        assert_eq!(wrong.code(), "invalid_credentials");
    }

    let from_device = try_from_device(&client, &device, &account.email, &account.password).await;
    let elsewhere = try_password(&client, &account.email, &account.password).await;

    assert_eq!(from_device.code(), "account_locked");
    assert_eq!(elsewhere.status, 200);
}

/// security.md 11: a token that is forged, expired, another account's, or void after a reset.
#[tokio::test]
async fn a_device_token_that_is_not_valid_helps_nobody() {
    let world = World::build().variable("GUARD_SECRET", GUARD_SECRET);
    let Some(world) = world.start() else { return };
    let (account, device) = register_with_device(&world).await;
    let (other, others) = register_with_device(&world).await;
    let (header, claims) = token::parts(&device);
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    let key = token::derive(GUARD_SECRET, "device token");
    let forge = |claims: &Value, key: &str| token::forge(&header, claims, key.as_bytes());
    lock(&world, &account.email).await;
    let client = world.client();
    let sign_in = async |token: &str| {
        let answer = try_from_device(&client, token, &account.email, &account.password).await;
        answer.code().to_owned()
    };

    for bad in [
        "",
        "none",
        &others,
        &forge(&claims, GUARD_SECRET),
        &forge(&claims, "another secret"),
        &forge(&with("exp", json!(1_700_000_000)), &key),
        &forge(&with("sub", json!(other.id)), &key),
        &account.access,
        &account.refresh,
    ] {
        assert_eq!(sign_in(bad).await, "account_locked", "{bad}");
    }
    assert_eq!(
        sign_in(&forge(&claims, &key)).await,
        "",
        "the forged token is valid"
    );

    let new = unique_password();
    reset(&world, &account, &new).await;
    lock(&world, &account.email).await;
    let after = try_from_device(&client, &device, &account.email, &new).await;
    assert_eq!(after.code(), "account_locked", "void after the reset");
}

/// security.md 11: a device token alone authenticates nothing.
#[tokio::test]
async fn a_device_token_is_good_for_nothing_else() {
    let Some(world) = World::inside() else { return };
    let (account, device) = register_with_device(&world).await;
    let client = world.client();

    assert_eq!(client.profile(&device).await.code(), "invalid_token");
    assert_eq!(
        client.refresh(&device).await.code(),
        "refresh_token_invalid"
    );
    let wrong = try_from_device(&client, &device, &account.email, "Wrong-7-horse").await;
    assert_eq!(wrong.code(), "invalid_credentials");
}

/// A known device is not a new one, wherever it signs in from.
#[tokio::test]
async fn a_login_with_a_device_token_is_not_from_a_new_device() {
    let Some(world) = World::inside() else { return };
    let (account, device) = register_with_device(&world).await;
    let far_away = world.client();

    try_from_device(&far_away, &device, &account.email, &account.password).await;
    assert_eq!(world.mails("new_device", &account.email).await, 0);
    try_password(&world.client(), &account.email, &account.password).await;
    assert_eq!(world.mails("new_device", &account.email).await, 1);
}

/// A right password that is refused for another reason does not count as a failure.
#[tokio::test]
async fn a_right_password_never_locks() {
    let world = World::build().variable("REQUIRE_VERIFIED_EMAIL", "true");
    let Some(world) = world.start() else { return };
    let (client, email, password) = (world.client(), unique_email(), unique_password());
    let body = json!({ "email": email, "password": password });
    client.post("/api/auth/register", body).await;

    for _ in 0..7 {
        let answer = try_password(&client, &email, &password).await;
        assert_eq!(answer.code(), "email_not_verified");
    }
}

/// A store that refuses writes must not make guessing free.
#[tokio::test]
async fn a_wrong_password_counts_also_where_it_cannot_be_recorded() {
    let Some((world, faulty)) = World::build().behind_faulty_dynamodb().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    for _ in 0..5 {
        faulty.fail(vec![Fault::throttled("PutItem"); 3]);
        let wrong = try_password(&client, &account.email, "Wrong-7-horse").await;
        assert_eq!(wrong.code(), "service_unavailable");
    }

    let sixth = try_password(&client, &account.email, &account.password).await;

    assert_eq!(sixth.code(), "account_locked");
}

/// A login that fails because a store is unavailable costs no attempt.
#[tokio::test]
async fn an_outage_locks_nobody() {
    let Some((world, faulty)) = World::build().behind_faulty_dynamodb().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    for operation in ["GetItem", "TransactWriteItems"] {
        for _ in 0..6 {
            faulty.fail(vec![Fault::throttled(operation); 3]);
            let answer = try_password(&client, &account.email, &account.password).await;
            assert_eq!(answer.code(), "service_unavailable");
        }
    }

    let right = try_password(&client, &account.email, &account.password).await;

    assert_eq!(right.status, 200, "{right:?}");
}
