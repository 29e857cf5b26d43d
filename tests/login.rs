//! `POST /api/auth/login`.

use harness::client::unique_email;
use harness::{World, token, until};
use serde_json::{Value, json};

const PATH: &str = "/api/auth/login";

#[tokio::test]
async fn address_username_and_identifier_sign_in_in_any_case() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    for (field, value) in [
        ("email", account.email.clone()),
        ("email", format!(" {} ", account.email.to_uppercase())),
        ("username", account.username.to_lowercase()),
        ("identifier", account.email.to_lowercase()),
        ("identifier", account.username.to_uppercase()),
    ] {
        let answer = client
            .post(PATH, json!({ field: value, "password": account.password }))
            .await;

        assert_eq!(answer.status, 200, "{field}: {value}");
        assert_eq!(answer["user"]["id"], account.id);
        assert_eq!(
            client.profile(&answer.text("accessToken")).await.status,
            200
        );
    }
}

#[tokio::test]
async fn exactly_one_identifier_is_taken() {
    let world = World::start();
    let client = world.client();
    for body in [
        json!({ "password": "x" }),
        json!({ "email": null, "password": "x" }),
        json!({ "email": "a@example.com", "username": "abc", "password": "x" }),
        json!({ "identifier": "abc", "username": "abc", "password": "x" }),
    ] {
        let answer = client.post(PATH, body.clone()).await;

        assert_eq!(answer.code(), "validation_failed", "{body}");
        assert!(answer.names(&["identifier"]), "{answer:?}");
    }
    let no_address = client
        .post(
            PATH,
            json!({ "email": "abc", "username": "abc", "password": "x" }),
        )
        .await;
    assert!(no_address.names(&["email"]), "{no_address:?}");
    let no_password = client.post(PATH, json!({ "identifier": "abc" })).await;
    assert!(no_password.names(&["password"]), "{no_password:?}");
}

/// Headers that differ in every answer; the last one is the gateway's.
const DIFFERS: [&str; 3] = ["date", "x-request-id", "apigw-requestid"];

async fn refusal(
    world: &World,
    identifier: &str,
    password: &str,
) -> (u16, Value, Vec<(String, String)>) {
    let mut answer = world
        .client()
        .post(
            PATH,
            json!({ "identifier": identifier, "password": password }),
        )
        .await;
    answer.body["requestId"] = json!("");
    let headers = answer
        .headers
        .iter()
        .filter(|(name, _)| !DIFFERS.contains(&name.as_str()));
    let headers = headers
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    (answer.status.as_u16(), answer.body, headers)
}

/// security.md 6, except for the time, which a benchmark measures.
#[tokio::test]
async fn a_wrong_password_an_unknown_and_a_deleted_account_are_answered_alike() {
    let world = World::start();
    let client = world.client();
    let (account, deleted) = (client.register().await, client.register().await);
    let body = json!({ "password": deleted.password });
    assert_eq!(
        client
            .delete_as(&deleted.access, "/api/auth/profile", body)
            .await
            .status,
        200
    );

    let wrong = refusal(&world, &account.email, "Wrong-7-horse").await;

    assert_eq!(
        (wrong.0, &wrong.1["error"]),
        (401, &json!("invalid_credentials"))
    );
    for (identifier, password) in [
        (unique_email().as_str(), "Wrong-7-horse"),
        ("no_such_user", "Wrong-7-horse"),
        ("not possible as a username", "Wrong-7-horse"),
        (deleted.email.as_str(), deleted.password.as_str()),
        (deleted.username.as_str(), deleted.password.as_str()),
        (deleted.email.as_str(), "Wrong-7-horse"),
    ] {
        assert_eq!(
            refusal(&world, identifier, password).await,
            wrong,
            "{identifier}"
        );
    }
}

/// security.md 6: the same work for every identifier, as far as it can be counted without a clock.
#[tokio::test]
async fn a_refused_login_asks_the_stores_and_hashes_alike_whether_the_account_exists_or_not() {
    let Some((world, faulty)) = World::build().behind_faulty_dynamodb().await else {
        return;
    };
    let account = world.client().register().await;
    let work = async |identifier: &str| {
        let hashes = || {
            world
                .log()
                .iter()
                .filter(|line| line.get("HashTime").is_some())
                .count()
        };
        let (asked, hashed) = (faulty.operations().len(), hashes());
        refusal(&world, identifier, "Wrong-7-horse").await;
        let mut asked = faulty.operations().split_off(asked);
        asked.sort_unstable(); // the last two are concurrent
        (asked, hashes() - hashed)
    };

    let known = work(&account.email).await;

    assert_eq!(
        known,
        (
            ["GetItem", "GetItem", "GetItem", "PutItem", "UpdateItem"]
                .map(str::to_owned)
                .to_vec(),
            1
        )
    );
    for identifier in [
        unique_email().as_str(),
        "no_such_user",
        "not possible as a username",
    ] {
        assert_eq!(work(identifier).await, known, "{identifier}");
    }
}

/// security.md 2.
#[tokio::test]
async fn both_unicode_forms_of_a_password_work_and_nothing_else_does() {
    let world = World::start();
    let client = world.client();
    let email = unique_email();
    let password = "Cafe\u{301} Nr. 7 ☕";
    let answer = client
        .post(
            "/api/auth/register",
            json!({ "email": email, "password": password }),
        )
        .await;
    assert_eq!(answer.status, 201);
    for (password, status) in [
        ("Cafe\u{301} Nr. 7 ☕", 200),
        ("Caf\u{e9} Nr. 7 ☕", 200),
        ("Caf\u{e9} Nr. 7 ", 401),
        ("Caf\u{e9} Nr. 7 ☕ ", 401),
        (" Caf\u{e9} Nr. 7 ☕", 401),
        ("caf\u{e9} Nr. 7 ☕", 401),
        ("Cafe Nr. 7 ☕", 401),
    ] {
        let answer = client.try_login(&email, password).await;

        assert_eq!(answer.status.as_u16(), status, "{password:?}");
    }
}

/// security.md 4.
#[tokio::test]
async fn a_bcrypt_hash_signs_in_and_is_replaced() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let bcrypt = bcrypt::hash(&account.password, 4).unwrap();
    for variant in [
        bcrypt.clone(),
        bcrypt.replacen("$2b$", "$2a$", 1),
        bcrypt.replacen("$2b$", "$2y$", 1),
    ] {
        world
            .dynamodb()
            .set_password_hash(&account.id, &variant)
            .await;

        let wrong = client.try_login(&account.email, "Wrong-7-horse").await;
        let kept = world.dynamodb().password_hash(&account.id).await;
        client.login(&account).await;
        let replaced = world.dynamodb().password_hash(&account.id).await;

        assert_eq!((wrong.code(), kept), ("invalid_credentials", variant));
        assert!(
            replaced.starts_with("$argon2id$v=19$m=1024,t=1,p=1$"),
            "{replaced}"
        );
        client.login(&account).await;
    }
}

/// security.md 4.
#[tokio::test]
async fn a_hash_of_another_cost_is_replaced_and_a_current_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let build = || World::build().data_dir(folder.path());
    let Some(world) = build().start() else { return };
    let account = world.client().register().await;
    let first = world.dynamodb().password_hash(&account.id).await;
    drop(world);
    let world = build().variable("ARGON2_ITERATIONS", "2").start().unwrap();

    world.client().login(&account).await;
    let replaced = world.dynamodb().password_hash(&account.id).await;
    world.client().login(&account).await;

    assert!(first.contains("m=1024,t=1,p=1"), "{first}");
    assert!(replaced.contains("m=1024,t=2,p=1"), "{replaced}");
    assert_eq!(world.dynamodb().password_hash(&account.id).await, replaced);
}

#[tokio::test]
async fn a_stored_hash_of_no_known_kind_is_an_error_that_tells_nothing() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    world
        .dynamodb()
        .set_password_hash(&account.id, "md5:0123456789abcdef")
        .await;

    let answer = client.try_login(&account.email, &account.password).await;

    assert_eq!(answer.code(), "internal_error");
}

#[tokio::test]
async fn a_disabled_account_is_told_so_only_after_the_right_password() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    world
        .dynamodb()
        .set_user(&account.id, "status", json!({ "S": "disabled" }))
        .await;

    let wrong = client.try_login(&account.email, "Wrong-7-horse").await;
    let right = client.try_login(&account.email, &account.password).await;

    assert_eq!(wrong.code(), "invalid_credentials");
    assert_eq!(
        (right.status.as_u16(), right.code()),
        (403, "account_disabled")
    );
}

#[tokio::test]
async fn a_login_is_in_the_record_and_in_the_audit_log() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    client.try_login(&account.email, "Wrong-7-horse").await;

    let answer = client.try_login(&account.email, &account.password).await;

    let last_login_at = answer["user"]["lastLoginAt"].as_str().unwrap();
    assert_eq!(
        world.dynamodb().user(&account.id).await["last_login_at"]["S"],
        last_login_at
    );
    let profile = client.profile(&answer.text("accessToken")).await;
    assert_eq!(profile["user"]["lastLoginAt"], last_login_at);
    let audit = world.dynamodb().audit(&account.id).await;
    let audit: Vec<_> = audit
        .iter()
        .map(|(event, outcome)| (event.as_str(), outcome.as_str()))
        .collect();
    assert_eq!(
        audit,
        [
            ("register", "success"),
            ("login", "failure"),
            ("login", "success")
        ]
    );
}

#[tokio::test]
async fn remember_me_makes_the_session_longer_also_after_a_refresh() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    let body = json!({ "email": account.email, "password": account.password, "rememberMe": true });

    let answer = client.post(PATH, body).await;
    let refreshed = client.refresh(&answer.text("refreshToken")).await;

    assert_eq!(answer["refreshExpiresIn"], 30 * 86_400);
    let left = refreshed["refreshExpiresIn"].as_i64().unwrap();
    assert!((30 * 86_400 - 60..=30 * 86_400).contains(&left), "{left}");
    let (_, claims) = token::parts(&answer.text("refreshToken"));
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        30 * 86_400
    );
    let no_flag =
        json!({ "email": account.email, "password": account.password, "rememberMe": "yes" });
    assert!(client.post(PATH, no_flag).await.names(&["rememberMe"]));
}

#[tokio::test]
async fn the_eleventh_session_ends_the_oldest() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    let mut sessions = vec![(account.access.clone(), account.refresh.clone())];
    for _ in 0..9 {
        sessions.push(client.login(&account).await);
    }
    assert_eq!(
        client.profile(&account.access).await.status,
        200,
        "ten sessions are allowed"
    );

    sessions.push(client.login(&account).await);

    assert_eq!(client.profile(&sessions[0].0).await.code(), "token_revoked");
    assert_eq!(
        client.refresh(&sessions[0].1).await.code(),
        "refresh_token_invalid"
    );
    for (access, _) in &sessions[1..] {
        assert_eq!(client.profile(access).await.status, 200);
    }
}

#[tokio::test]
async fn a_login_needs_no_password_rules_but_the_maximum() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    let login = |password: &str| json!({ "email": account.email, "password": password });

    let short = client.post(PATH, login("x")).await;
    let empty = client.post(PATH, login("")).await;
    let longest = client.post(PATH, login(&"x".repeat(128))).await;
    let too_long = client.post(PATH, login(&"x".repeat(129))).await;

    assert_eq!(
        (short.code(), longest.code()),
        ("invalid_credentials", "invalid_credentials")
    );
    assert_eq!(empty.messages("password"), ["must not be empty"]);
    assert_eq!(
        too_long.messages("password"),
        ["must be at most 128 characters long"]
    );
}

/// security.md 30.
#[tokio::test]
async fn a_sign_in_from_elsewhere_is_mailed_to_the_owner_and_one_from_here_is_not() {
    let Some(world) = World::inside() else {
        return;
    };
    let (here, elsewhere) = (world.client(), world.client());
    let account = here.register().await;
    let mails = async || world.mails("new_device", &account.email).await;
    let login = json!({ "email": account.email, "password": account.password });
    let wrong = json!({ "email": account.email, "password": "Wrong-7-horse" });

    here.login(&account).await;
    elsewhere.post(PATH, wrong).await;
    assert_eq!(mails().await, 0, "a known device, and a failed login");
    elsewhere.login(&account).await;
    assert_eq!(mails().await, 1, "from another address");
    elsewhere.login(&account).await;
    assert_eq!(mails().await, 1, "the device is known now");
    let request = here.request(reqwest::Method::POST, PATH);
    here.send(request.header("user-agent", "another/1.0").json(&login))
        .await;
    assert_eq!(mails().await, 2, "with another user agent");
}

/// A login that cannot be recorded fails, and leaves no session that would push out others.
#[tokio::test]
async fn a_login_that_cannot_be_recorded_leaves_no_session() {
    let Some((world, faulty)) = World::build().behind_faulty_dynamodb().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let throttled = harness::peers::Fault::throttled("TransactWriteItems");
    for _ in 0..10 {
        faulty.fail(vec![throttled.clone(); 3]);
        assert_eq!(
            client
                .try_login(&account.email, &account.password)
                .await
                .code(),
            "service_unavailable"
        );
    }

    assert_eq!(client.profile(&account.access).await.status, 200);
    let sessions = world.sessions();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    let audit = world.dynamodb().audit(&account.id).await;
    assert!(
        !audit.contains(&("login".to_owned(), "success".to_owned())),
        "{audit:?}"
    );
}

/// The account may be deleted between reading the user and starting the session.
#[tokio::test]
async fn logins_racing_a_deletion_leave_nobody_signed_in() {
    let world = World::start();
    for _ in 0..10 {
        let client = world.client();
        let account = client.register().await;
        let login = json!({ "email": account.email, "password": account.password });
        let deletion = json!({ "password": account.password });

        let (deleted, first, second) = tokio::join!(
            client.delete_as(&account.access, "/api/auth/profile", deletion),
            client.post(PATH, login.clone()),
            client.post(PATH, login.clone()),
        );

        assert_eq!(deleted.status, 200);
        for answer in [first, second] {
            if let (Some(access), Some(refresh)) = (
                answer["accessToken"].as_str(),
                answer["refreshToken"].as_str(),
            ) {
                assert_eq!(client.profile(access).await.code(), "token_revoked");
                assert_eq!(
                    client.refresh(refresh).await.code(),
                    "refresh_token_invalid"
                );
            }
        }
    }
}

/// security.md 24: while the old password is being hashed, a new one is set and all sessions are ended. The sign-in
/// that finishes afterwards fails.
#[tokio::test]
async fn a_password_that_is_changed_while_it_is_compared_signs_nobody_in() {
    let world = World::build().variable("ARGON2_ITERATIONS", "300"); // slow enough to be overtaken
    let Some((world, faulty)) = world.behind_faulty_dynamodb().await else {
        return;
    };
    let client = world.client();
    let (account, other) = (client.register().await, client.register().await);
    let newer = world.dynamodb().password_hash(&other.id).await;
    let is_read = |operation: &String| operation == "GetItem";
    let reads = || {
        faulty
            .operations()
            .iter()
            .filter(|operation| is_read(operation))
            .count()
    };
    let before = reads();

    let body = json!({ "email": account.email, "password": account.password });
    let trying = {
        let client = client.clone();
        tokio::spawn(async move { client.post(PATH, body).await })
    };
    until("the record is read", async || reads() >= before + 3).await;
    let (dynamodb, key) = (world.dynamodb(), format!("USER#{}", account.id));
    let table = dynamodb.credentials.clone();
    dynamodb
        .set(&table, &key, "PASSWORD", "hash", json!({ "S": newer }))
        .await;
    let answer = trying.await.unwrap();

    assert_eq!(answer.code(), "invalid_credentials");
    let sessions = client.sessions(&account.access).await;
    assert_eq!(
        sessions["sessions"].as_array().unwrap().len(),
        1,
        "only the first session exists"
    );
}

/// An environment with provisioned concurrency is frozen as soon as it asks for work, so it allocates the memory of its
/// first hash before. Any other environment does not, because its start would take as long.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn only_provisioned_concurrency_makes_the_memory_of_hashes_before_the_first_login() {
    use harness::{process, world::binaries};

    const HASH: u64 = 64 * 1024 * 1024;
    let Some(world) = World::inside() else { return };
    for (initialization, is_prepared) in [("provisioned-concurrency", true), ("on-demand", false)] {
        let changed = [
            ("ARGON2_MEMORY_KIB", "65536"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", initialization),
        ];
        let lambda = world.another_lambda(binaries(), "login", &changed);

        lambda.warm_up().await.expect("it starts");

        let process = lambda.idle_processes()[0];
        assert_eq!(process::resident_bytes(process) >= HASH, is_prepared);
        lambda.stop().await;
    }
}
