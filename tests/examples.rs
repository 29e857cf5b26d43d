//! The examples: services and an application that Gatehouse protects.

use std::process::Command;

use harness::peers::{Mode, TcpProxy, address};
use harness::programs::{Folder, Server, get, run};
use harness::token::{self, KeyPair, key_set};
use harness::{World, until};
use serde_json::{Value, json};
use time::OffsetDateTime;

fn bearer(access: &str) -> String {
    format!("Bearer {access}")
}

/// Checks a service that verifies tokens itself: whom it lets in, whom it refuses, and that it needs the keys only once.
async fn verifies_tokens(path: &str, start: impl AsyncFnOnce(&[(&str, &str)]) -> Option<Server>) {
    let (key, stranger) = (KeyPair::generate(), KeyPair::generate());
    let world = World::build()
        .variable("JWT_ISSUER", "https://auth.example.com")
        .variable("JWT_PRIVATE_KEY", &key.private)
        .variable("JWT_PUBLIC_KEYS", &key_set(&[&key]));
    let Some(world) = world.start() else { return };
    let proxy = TcpProxy::start(address(world.url())).await;
    let variables = [
        ("AUTH_API", format!("http://{}", proxy.address)),
        ("JWT_ISSUER", "https://auth.example.com".to_owned()),
        ("JWT_AUDIENCE", "gatehouse".to_owned()),
    ];
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    let Some(server) = start(&variables).await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let ask = async |token: &str| server.get(path, Some(&bearer(token))).await;

    proxy.set(Mode::Gone);
    let (status, _) = ask(&account.access).await;
    assert_eq!(status, 503, "without the keys nobody can be verified");
    proxy.set(Mode::Forward);
    let (status, answer) = ask(&account.access).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer, json!({ "user": account.id, "role": "user" }));

    let (header, claims) = token::parts(&account.access);
    let with = |whole: &Value, name: &str, value: Value| {
        let mut changed = whole.clone();
        changed[name] = value;
        changed
    };
    assert_eq!(
        ask(&key.forge(&header, &claims)).await.0,
        200,
        "the forger works"
    );
    // Clocks that are apart by less than half a minute.
    let now = OffsetDateTime::now_utc().unix_timestamp();
    for (claim, time) in [("iat", now + 20), ("exp", now - 20)] {
        let token = key.forge(&header, &with(&claims, claim, json!(time)));
        assert_eq!(ask(&token).await.0, 200, "{claim}");
    }
    let (_, refresh) = client.login(&account).await;
    let mut without_session = claims.clone();
    without_session.as_object_mut().unwrap().remove("sid");
    for refused in [
        String::new(),
        "x".to_owned(),
        refresh,
        stranger.forge(&header, &claims),
        key.forge(&with(&header, "alg", json!("none")), &claims),
        token::forge(
            &with(&header, "alg", json!("HS256")),
            &claims,
            key_set(&[&key]).as_bytes(),
        ),
        key.forge(
            &header,
            &with(&claims, "iss", json!("https://evil.example")),
        ),
        key.forge(&header, &with(&claims, "aud", json!("another"))),
        key.forge(&header, &with(&claims, "exp", json!(now - 40))),
        key.forge(&header, &without_session),
    ] {
        let (status, answer) = ask(&refused).await;
        assert_eq!(status, 401, "{refused}: {answer}");
    }
    for authorization in [
        None,
        Some(account.access.as_str()),
        Some("Bearer"),
        Some("Basic eDp5"),
    ] {
        let (status, answer) = server.get(path, authorization).await;
        assert_eq!(status, 401, "{authorization:?}: {answer}");
    }

    proxy.set(Mode::Gone);
    let (status, _) = ask(&account.access).await;
    assert_eq!(status, 200, "the service keeps the keys");
    client.logout(&account.access).await;
    let (status, _) = ask(&account.access).await;
    assert_eq!(status, 200, "a token counts until it expires");
}

fn with_variables(mut command: Command, variables: &[(&str, &str)]) -> Command {
    command.envs(variables.iter().copied());
    command
}

#[tokio::test]
async fn an_express_service_verifies_tokens() {
    verifies_tokens("/me", async |variables| {
        let folder = Folder::of_node("examples/express")?;
        let mut node = folder.command("node");
        node.arg("server.js");
        Some(Server::start(with_variables(node, variables)).await)
    })
    .await;
}

#[tokio::test]
async fn a_fastapi_service_verifies_tokens() {
    verifies_tokens("/me", async |variables| {
        let folder = Folder::of_python("examples/fastapi")?;
        let mut shell = folder.command("sh"); // it inserts the port
        shell.arg("-c");
        shell.arg("exec .venv/bin/python -m uvicorn --log-level warning --port $PORT main:app");
        Some(Server::start(with_variables(shell, variables)).await)
    })
    .await;
}

#[tokio::test]
async fn a_nextjs_application_verifies_tokens_before_its_routes() {
    verifies_tokens("/api/me", async |variables| {
        let folder = Folder::of_node("examples/nextjs")?;
        // It is built without the variables of the place where it runs.
        let mut build = folder.command("npm");
        run(build
            .args(["run", "build"])
            .env("NEXT_TELEMETRY_DISABLED", "1"));
        let mut start = folder.command("npm");
        start
            .args(["run", "start"])
            .env("NEXT_TELEMETRY_DISABLED", "1");
        let server = Server::start(with_variables(start, variables)).await;
        let page = reqwest::Client::new().get(&server.url);
        let page = page
            .header("x-user-id", "somebody-else")
            .send()
            .await
            .unwrap();
        let page = page.text().await.unwrap();
        assert!(page.contains("nobody that it knows"), "{page}");
        Some(server)
    })
    .await;
}

/// Starts the SAM application beside the system.
fn application() -> Option<(World, String)> {
    let world = World::build().application("examples/sam/template.yaml");
    world.start_with_application()
}

#[tokio::test]
async fn three_routes_let_a_signed_in_user_in_and_a_logout_counts_at_once_where_it_should() {
    let Some((world, url)) = application() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let ask = async |path: &str, authorization: Option<&str>| {
        get(&format!("{url}{path}"), authorization).await
    };
    let bearer = bearer(&account.access);

    for path in ["/by-authorizer", "/by-token", "/by-crate"] {
        let (status, answer) = ask(path, Some(&bearer)).await;
        assert_eq!(status, 200, "{path}: {answer}");
        assert_eq!(answer["user"], account.id, "{path}");
        assert_eq!(answer["role"], "user", "{path}");
        let (status, _) = ask(path, None).await;
        assert_eq!(status, 401, "{path}");
    }

    client.logout(&account.access).await;
    for (path, expected) in [
        ("/by-authorizer", 403),
        ("/by-token", 200),
        ("/by-crate", 401),
    ] {
        let (status, answer) = ask(path, Some(&bearer)).await;
        assert_eq!(status, expected, "{path}: {answer}");
    }
}

#[tokio::test]
async fn three_routes_refuse_what_is_no_token_of_this_system() {
    let Some((world, url)) = application() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let (_, refresh) = client.login(&account).await;
    let (header, claims) = token::parts(&account.access);
    let (start, end) = account.access.rsplit_once('.').unwrap();
    let (_, signature_of_another) = client
        .register()
        .await
        .access
        .rsplit_once('.')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    assert_ne!(end, signature_of_another);
    let mut symmetric = header.clone();
    symmetric["alg"] = json!("HS256");
    let keys: String = client
        .request(reqwest::Method::GET, "/.well-known/jwks.json")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();

    for token in [
        "x".to_owned(),
        refresh,
        format!("{start}.{signature_of_another}"),
        KeyPair::generate().forge(&header, &claims),
        token::forge(&symmetric, &claims, keys.as_bytes()),
    ] {
        for (path, expected) in [
            ("/by-authorizer", 403),
            ("/by-token", 401),
            ("/by-crate", 401),
        ] {
            let (status, answer) = get(&format!("{url}{path}"), Some(&bearer(&token))).await;
            assert_eq!(status, expected, "{path} {token}: {answer}");
        }
    }
}

/// API Gateway's JWT authorizer, as the local stack has it.
#[tokio::test]
async fn the_jwt_authorizer_refuses_a_token_whose_claims_are_wrong_though_its_signature_is_right() {
    let key = KeyPair::generate();
    let world = World::build()
        .variable("JWT_PRIVATE_KEY", &key.private)
        .variable("JWT_PUBLIC_KEYS", &key_set(&[&key]))
        .application("examples/sam/template.yaml");
    let Some(world) = world.start() else { return };
    let url = format!("{}/by-token", world.local().info().applications[0]);
    let account = world.client().register().await;
    let (header, claims) = token::parts(&account.access);
    let ask = async |claims: &Value| {
        let token = key.forge(&header, claims);
        get(&url, Some(&bearer(&token))).await.0
    };
    assert_eq!(ask(&claims).await, 200, "the forger works");
    let now = OffsetDateTime::now_utc().unix_timestamp();

    for (claim, wrong) in [
        ("iss", json!("https://evil.example")),
        ("aud", json!("another")),
        ("exp", json!(now - 1)),
        ("iat", json!(now + 60)),
    ] {
        let mut changed = claims.clone();
        changed[claim] = wrong;
        assert_eq!(ask(&changed).await, 401, "{claim}");
        changed.as_object_mut().unwrap().remove(claim);
        let expected = if claim == "iat" { 200 } else { 401 };
        assert_eq!(ask(&changed).await, expected, "without {claim}");
    }
}

/// Without Redis nobody knows whether a session has ended: the Lambda authorizer lets nobody through and says so in the
/// log, the function that verifies itself answers 503, and what looks at tokens alone goes on.
#[tokio::test]
async fn without_redis_the_routes_that_ask_for_sessions_let_nobody_in() {
    let world = World::build().application("examples/sam/template.yaml");
    let Some((world, proxy, _redis)) = world.behind_redis_proxy().await else {
        return;
    };
    let url = world.local().info().applications[0].clone();
    let account = world.client().register().await;
    let bearer = bearer(&account.access);
    let ask = async |path: &str| get(&format!("{url}{path}"), Some(&bearer)).await.0;
    assert_eq!(ask("/by-authorizer").await, 200);

    proxy.set(Mode::Gone);

    for (path, expected) in [
        ("/by-authorizer", 403),
        ("/by-token", 200),
        ("/by-crate", 503),
    ] {
        assert_eq!(ask(path).await, expected, "{path}");
    }
    until("the log says why", async || {
        world
            .log()
            .iter()
            .any(|line| line.to_string().contains("nobody is let through"))
    })
    .await;
    proxy.set(Mode::Forward);
    until("it recovers", async || ask("/by-authorizer").await == 200).await;
}

/// The guide shows the examples' own code, and it is short.
#[test]
fn the_guide_shows_the_code_of_the_examples() {
    let guide = harness::workspace::read("docs/guides/protect-an-api.md");
    let express = harness::workspace::read("examples/express/caller.js");
    let fastapi = harness::workspace::read("examples/fastapi/caller.py");
    assert_eq!(
        express,
        harness::workspace::read("examples/nextjs/caller.js")
    );
    for code in [express, fastapi] {
        assert!(guide.contains(&code), "{code}");
        let lines = code.lines().filter(|line| !line.trim().is_empty()).count();
        assert!(lines < 15, "{lines}: {code}");
    }
}
