//! The whole system on a Redis cluster, which refuses any command that touches two slots at once.

use harness::cluster::Cluster;
use harness::code;
use harness::passkey::Passkey;
use harness::world::Builder;
use harness::{World, until};
use serde_json::json;

fn on(cluster: &Cluster) -> Builder {
    World::build()
        .variable("REDIS_URL", &cluster.url())
        .variable("REDIS_CA", &cluster.ca)
        .variable("REDIS_CLUSTER", "true")
}

/// On a serverless cache, a script fails if it touches a key that is not among its `KEYS` (Valkey, "Scripting with
/// Lua").
#[test]
fn scripts_touch_no_key_that_they_do_not_name() {
    let folder = local::build::workspace().join("shared/src/store/scripts");
    let mut scripts = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let script = std::fs::read_to_string(&path).unwrap();
        let walks_over_keys = script.contains("for i, key in ipairs(KEYS) do");
        // The shared beginning of the session scripts gets the key as a parameter.
        let is_prefix = path.ends_with("sessions.lua");
        for called in [
            " read(", " write(", " all(", "(all(", " prune(", "{list(", " list(",
        ] {
            for call in script.split(called).skip(1).filter(|_| !is_prefix) {
                let is_named = call.starts_with("KEYS[1]") || call.starts_with("KEYS[2]");
                assert!(
                    is_named || call.starts_with("key)"),
                    "{path:?}: {called}{call}"
                );
            }
        }
        for call in script.split("redis.call(").skip(1) {
            let end = call.find([',', ')']).unwrap();
            let (command, rest) = call.split_at(end);
            let key = rest[1..].trim_start();
            let is_named = key.starts_with("KEYS[1]")
                || key.starts_with("KEYS[2]")
                || (walks_over_keys || is_prefix) && key.starts_with("key");
            assert!(
                command == "'TIME'" || is_named,
                "{path:?}: {command}, {key}"
            );
        }
        scripts += 1;
    }
    assert_eq!(scripts, 12);
}

/// Over TLS, only as the user that the functions have in the cloud; the node may forget its scripts at any time.
#[tokio::test]
async fn everything_works_on_a_cluster() {
    // Starting another world installs what the cluster needs.
    if World::inside().is_none() {
        return;
    }
    let cluster = Cluster::start(1);
    let Some(world) = on(&cluster).default_limits().start() else {
        return;
    };
    let account = world.client().register().await;
    let forgetting = cluster.forgets_scripts();

    let token = world.mailed_token("verify_email", &account.email).await;
    world.client().verify_email(&account, &token).await;
    let mut passkey = Passkey::of(&world.client(), &account).await;
    let signed_in = passkey.login(&world.client()).await;
    assert_eq!(signed_in.status, 200, "{signed_in:?}");
    let (request_token, mailed) = code::ask(&world, &world.client(), &account.email).await;
    let signed_in = code::confirm(&world.client(), &request_token, &mailed).await;
    assert_eq!(signed_in.status, 200, "{signed_in:?}");
    let (access, refresh) = world.client().login(&account).await;
    let wrong = json!({ "email": account.email, "password": "Wrong-7-horse" });
    for left in (0..5).rev() {
        let answer = world.client().post("/api/auth/login", wrong.clone()).await;
        assert_eq!(answer.code(), "invalid_credentials", "{left}");
    }
    let locked = world.client().post("/api/auth/login", wrong).await;
    assert_eq!(locked.code(), "account_locked");
    // The address and the user are in different slots: each limit is charged, and if one refuses, the other's charge is
    // taken back.
    let client = world.client();
    let first = client.profile(&access).await;
    assert_eq!(first.rate_limit().unwrap().0, "user", "{first:?}");
    let renewed = client.refresh(&refresh).await;
    assert_eq!(renewed.status, 200, "{renewed:?}");
    let access = renewed.text("accessToken");
    let sessions = client.sessions(&access).await;
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 4);
    for _ in 0..20 {
        client.profile(&access).await;
    }
    let refused = client.profile(&access).await;
    assert_eq!(refused.code(), "rate_limited");
    let reset = json!({ "email": account.email });
    assert_eq!(client.post("/forgot-password", reset).await.status, 200);
    let token = world.mailed_token("reset_password", &account.email).await;
    let body = json!({ "token": token, "newPassword": "Another-7-horse" });
    let confirmed = world.client().post("/reset-password", body).await;
    assert_eq!(confirmed.status, 200, "{confirmed:?}");
    assert_eq!(
        client.refresh(&renewed.text("refreshToken")).await.code(),
        "refresh_token_invalid"
    );
    forgetting.end();
}

/// security L9: the functions that the template gives the reader's URL work with its rights, and these rights allow
/// nothing more.
#[tokio::test]
async fn a_function_that_starts_and_ends_no_sessions_cannot() {
    if World::inside().is_none() {
        return;
    }
    let cluster = Cluster::start(1);
    let secrets = ["JWT_SECRET", "JWT_REFRESH_SECRET", "GUARD_SECRET"];
    let with_secrets = |world: Builder| {
        let world = world.variable("JWT_ISSUER", "https://auth.example");
        secrets.iter().fold(world, |world, name| {
            world.variable(name, &format!("{name} of thirty-two bytes or more"))
        })
    };
    let Some(world) = with_secrets(on(&cluster)).start() else {
        return;
    };
    let url = &world.local().info().dynamodb_url;
    let readers = on(&cluster)
        .variable("REDIS_URL", &cluster.reader_url())
        .variable("AWS_ENDPOINT_URL_DYNAMODB", url);
    let readers = with_secrets(readers.default_limits()).start().unwrap();
    let account = world.client().register().await;
    let client = readers.client();

    // What these functions are for.
    let shown = client.profile(&account.access).await;
    assert_eq!(shown.status, 200, "{shown:?}");
    let named = json!({ "name": "Ada" });
    let changed = client.update_profile(&account.access, named).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let email = json!({ "email": account.email });
    for path in [
        "/forgot-password",
        "/api/auth/verify-email/resend",
        "/api/auth/code/request",
    ] {
        let asked = client.post(path, email.clone()).await;
        assert_eq!(asked.status, 200, "{path}: {asked:?}");
    }
    let token = world.mailed_token("verify_email", &account.email).await;
    for (password, status) in [("Wrong-7-horse", 403), (account.password.as_str(), 200)] {
        let body = json!({ "token": token, "password": password });
        let verified = readers.client().post("/api/auth/verify-email", body).await;
        assert_eq!(verified.status, status, "{verified:?}");
    }
    let event = include_str!("../events/authorizer.json");
    let event = event.replace("ACCESS_TOKEN", &account.access);
    let permission = readers.local().invoke("authorizer", event.into_bytes());
    let permission = String::from_utf8(permission.await.unwrap()).unwrap();
    assert!(permission.contains("\"isAuthorized\":true"), "{permission}");
    // What these functions must not do: start, renew or end a session.
    let client = readers.client();
    let started = client.try_login(&account.email, &account.password).await;
    let renewed = client.refresh(&account.refresh).await;
    let ended = client.logout(&account.access).await;
    for answer in [started, renewed, ended] {
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    let still = world.client().profile(&account.access).await;
    assert_eq!(still.status, 200, "{still:?}");
    // Each function has the URL that is meant for it.
    let template = harness::world::read("infra/functions.yaml");
    for function in harness::template().functions {
        let Some((_, resource)) = template.split_once(&format!("\n  {}:\n", function.resource))
        else {
            panic!("{}", function.resource);
        };
        let resource = resource.split("\n\n").next().unwrap();
        let reads = [
            "Authorizer",
            "CodeRequest",
            "Introspect",
            "OauthStart",
            "OauthTokens",
            "Profile",
            "ResetRequest",
            "VerifyEmail",
            "VerifyResend",
        ];
        let is_reader = resource.contains("REDIS_URL: !Ref RedisReaderUrl");
        assert_eq!(is_reader, reads.contains(&function.resource.as_str()));
    }
}

/// A user signs in sixty times while the slot of their sessions moves between two nodes. A login may be answered with
/// 503, but every session that a login has started is valid afterwards.
#[tokio::test]
async fn nobody_loses_a_session_while_the_cluster_grows() {
    if World::inside().is_none() {
        return;
    }
    let cluster = Cluster::start(2);
    let Some(world) = on(&cluster).start() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let (access, _) = client.login(&account).await;
    let user = client.profile(&access).await["user"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let moving = cluster.moves_the_slot_of(&format!("sessions:{{{user}}}"));

    let credentials = json!({ "email": account.email, "password": account.password });
    let (mut tokens, mut refused) = (Vec::new(), 0);
    for _ in 0..60 {
        let answer = client.post("/api/auth/login", credentials.clone()).await;
        if answer.status == 200 {
            tokens.push(answer.text("accessToken"));
        } else {
            assert_eq!(answer.code(), "service_unavailable", "{answer:?}");
            refused += 1;
        }
    }
    moving.end();

    eprintln!("{refused} of 60 logins were answered with 503");
    assert!(refused < 30, "{refused} of 60");
    // A user has at most ten sessions.
    for token in tokens.iter().rev().take(9) {
        until("the slot has been found", async || {
            client.profile(token).await.status != 503
        })
        .await;
        let answer = client.profile(token).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}
