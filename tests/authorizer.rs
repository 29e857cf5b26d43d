//! The function `authorizer`, which other stacks' APIs ask about their requests.

use std::time::{Duration, Instant};

use harness::peers::{Mode, TcpProxy};
use harness::world::Builder;
use harness::{Account, Client, World, token};
use serde_json::{Value, json};

/// Asks as an HTTP API does, in format 2.0.
async fn ask(world: &World, alias: &str, authorization: Option<&str>) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../events/authorizer.json")).unwrap();
    event["headers"] = json!({ "user-agent": "example/1.0" });
    if let Some(authorization) = authorization {
        event["headers"]["authorization"] = json!(authorization);
    }
    invoke(world, alias, &event).await
}

async fn invoke(world: &World, alias: &str, event: &Value) -> Value {
    let function = format!("authorizer:{alias}");
    let answer = world.local().invoke(&function, event.to_string().into());
    serde_json::from_slice(&answer.await.unwrap()).unwrap()
}

async fn is_authorized(world: &World, alias: &str, authorization: Option<&str>) -> bool {
    ask(world, alias, authorization).await["isAuthorized"]
        .as_bool()
        .unwrap()
}

fn bearer(access: &str) -> String {
    format!("Bearer {access}")
}

async fn signed_in(world: &World) -> (Client, Account) {
    let client = world.client();
    let account = client.register().await;
    (client, account)
}

#[tokio::test]
async fn a_signed_in_user_passes_and_the_api_learns_who_it_is() {
    let Some(world) = World::inside() else { return };
    let (_, account) = signed_in(&world).await;
    let claims = json!({ "M": { "plan": { "S": "pro" }, "teams": { "L": [{ "S": "one" }] } } });
    world
        .dynamodb()
        .set_user(&account.id, "claims", claims)
        .await;
    let (_, token) = token::parts(&account.access);

    let answer = ask(&world, "live", Some(&bearer(&account.access))).await;

    assert_eq!(
        answer,
        json!({
            "isAuthorized": true,
            "context": {
                "userId": account.id, "role": "user", "sid": token["sid"], "authTime": token["auth_time"], "amr": "pwd",
                "claims": { "plan": "pro", "teams": ["one"] },
            },
        })
    );
}

/// The scheme is not case-sensitive (RFC 9110, 11.1); a header's name neither (5.1).
#[tokio::test]
async fn a_rest_api_gets_a_policy_for_all_its_routes_and_a_context_of_texts() {
    let Some(world) = World::inside() else { return };
    let (_, account) = signed_in(&world).await;
    let stored = json!({ "M": { "plan": { "S": "pro" } } });
    world
        .dynamodb()
        .set_user(&account.id, "claims", stored)
        .await;
    let event: Value =
        serde_json::from_str(include_str!("../events/authorizer-rest.json")).unwrap();
    let bearer = format!("bearer {}", account.access);
    let mut by_header = event.clone();
    by_header["headers"] = json!({ "AUTHORIZATION": bearer });
    let by_token = json!({
        "type": "TOKEN", "methodArn": event["methodArn"], "authorizationToken": bearer,
    });
    let mut format_1 = by_header.clone();
    format_1["version"] = json!("1.0");
    for event in [by_header, by_token, format_1] {
        let answer = invoke(&world, "live", &event).await;

        assert_eq!(answer["principalId"], account.id);
        assert_eq!(
            answer["policyDocument"],
            json!({
                "Version": "2012-10-17",
                "Statement": [{
                    "Action": "execute-api:Invoke",
                    "Effect": "Allow",
                    "Resource": "arn:aws:execute-api:us-east-1:123456789012:abcdefghij/prod/*",
                }],
            })
        );
        assert_eq!(answer["context"]["claims"], r#"{"plan":"pro"}"#);
        let context = answer["context"].as_object().unwrap();
        let mut values = context.values();
        assert!(values.all(|value| !value.is_object() && !value.is_array()));
    }
    let refused = json!({
        "type": "TOKEN", "methodArn": event["methodArn"], "authorizationToken": "Bearer x",
    });
    let answer = invoke(&world, "live", &refused).await;
    let statement = &answer["policyDocument"]["Statement"][0];
    assert_eq!(statement["Effect"], "Deny");
    assert_eq!(answer["context"], json!({}));
}

/// security.md 44.
#[tokio::test]
async fn what_is_no_valid_token_does_not_pass_by_any_alias() {
    let Some(world) = World::inside() else { return };
    let (_, account) = signed_in(&world).await;
    let stranger = token::KeyPair::generate();
    let (header, claims) = token::parts(&account.access);
    for alias in ["live", "optional", "admin"] {
        for bad in [
            String::new(),
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            "Bearer x".to_owned(),
            account.access.clone(),
            format!("Basic {}", account.access),
            bearer(&account.refresh),
            bearer(&format!("{}x", account.access)),
            bearer(&stranger.forge(&header, &claims)),
        ] {
            assert!(
                !is_authorized(&world, alias, Some(&bad)).await,
                "{alias}: {bad}"
            );
        }
    }
}

#[tokio::test]
async fn the_alias_says_whether_a_token_or_a_role_is_needed() {
    let Some(world) = World::inside() else { return };
    let (_, account) = signed_in(&world).await;
    let user = bearer(&account.access);
    let passes = async |authorization: Option<&str>| {
        let mut passed = Vec::new();
        for alias in ["live", "optional", "admin"] {
            if is_authorized(&world, alias, authorization).await {
                passed.push(alias);
            }
        }
        passed
    };

    assert_eq!(passes(None).await, ["optional"]);
    assert_eq!(passes(Some(&user)).await, ["live", "optional"]);
    let nobody = ask(&world, "optional", None).await;
    assert_eq!(nobody["context"], json!({}));
    // The record decides, not the token, which still says "user".
    world
        .dynamodb()
        .set_user(&account.id, "role", json!({ "S": "admin" }))
        .await;
    assert_eq!(passes(Some(&user)).await, ["live", "optional", "admin"]);
    let answer = ask(&world, "admin", Some(&user)).await;
    assert_eq!(answer["context"]["role"], "admin");
}

/// security.md 44.
#[tokio::test]
async fn a_logout_and_a_disabled_account_count_at_once() {
    let Some(world) = World::inside() else { return };
    let (client, account) = signed_in(&world).await;
    let (other, _) = client.login(&account).await;
    let passes = async |access: &str| is_authorized(&world, "live", Some(&bearer(access))).await;
    assert!(passes(&account.access).await && passes(&other).await);

    assert_eq!(client.logout(&account.access).await.status, 200);

    assert!(!passes(&account.access).await && passes(&other).await);
    let disabled = json!({ "S": "disabled" });
    world
        .dynamodb()
        .set_user(&account.id, "status", disabled)
        .await;
    assert!(!passes(&other).await);
}

/// Breaks the store behind the proxy, and expects that nobody passes until it works again.
async fn fails_closed(world: &World, proxy: &TcpProxy) {
    let (_, account) = signed_in(world).await;
    let user = bearer(&account.access);
    assert!(is_authorized(world, "live", Some(&user)).await);
    for mode in [Mode::Gone, Mode::Silent] {
        proxy.set(mode);
        for alias in ["live", "optional"] {
            let started = Instant::now();
            assert!(!is_authorized(world, alias, Some(&user)).await);
            assert!(started.elapsed() < Duration::from_secs(5));
        }
        proxy.set(Mode::Gone);
        proxy.set(Mode::Forward);
        assert!(is_authorized(world, "live", Some(&user)).await, "it heals");
    }
    let log = world.log();
    let mut errors = log.iter().filter(|line| line["level"] == "ERROR");
    let is_told = |line: &Value| {
        line["message"] == "nobody is let through" && line["outcome"] == "service_unavailable"
    };
    assert!(errors.any(is_told), "{log:?}");
}

/// security.md 44.
#[tokio::test]
async fn without_a_store_nobody_passes_and_the_log_says_why() {
    let Some((world, proxy, _redis)) = World::build().behind_redis_proxy().await else {
        return;
    };
    fails_closed(&world, &proxy).await;
    let (world, proxy) = World::build().behind_dynamodb_proxy().await.unwrap();
    fails_closed(&world, &proxy).await;
}

#[tokio::test]
async fn what_is_no_event_of_an_authorizer_fails() {
    let Some(world) = World::inside() else { return };
    let event = include_bytes!("../events/login.json").to_vec();

    assert!(world.local().invoke("authorizer", event).await.is_err());
}

/// The clocks of two machines are apart: of the one that signs and the one that verifies.
#[tokio::test]
async fn clocks_that_are_apart_refuse_no_fresh_token_and_none_lives_for_ever() {
    for (clock, passes) in [("-2m", true), ("+2m", true), ("+20m", false)] {
        let world = World::build().clock("authorizer", clock);
        let Some(world) = world.and_then(Builder::start) else {
            return;
        };
        let (_, account) = signed_in(&world).await;
        let is_authorized = is_authorized(&world, "live", Some(&bearer(&account.access))).await;
        assert_eq!(is_authorized, passes, "{clock}");
    }
}
