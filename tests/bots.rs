//! Bots at the public endpoints: logged by default, refused if the operator chooses so.

use harness::{Answer, Client, World};
use reqwest::Method;
use serde_json::{Value, json};

const GOOGLE: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const HEADLESS: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36";
const PUBLIC: [&str; 6] = [
    "/api/auth/register",
    "/api/auth/login",
    "/api/auth/password-reset/request",
    "/api/auth/password-reset/confirm",
    "/api/auth/verify-email",
    "/api/auth/verify-email/resend",
];

async fn ask_as(client: &Client, agent: Option<&str>, path: &str) -> Answer {
    let request = client.request(Method::POST, path).json(&json!({}));
    let request = match agent {
        Some(agent) => request.header("user-agent", agent),
        None => request,
    };
    client.send(request).await
}

#[tokio::test]
async fn where_bots_are_blocked_no_public_endpoint_serves_them() {
    let world = World::build()
        .variable("BOT_PROTECTION", "block")
        .variable("RATE_LIMIT_GLOBAL", "100/15m");
    let Some(world) = world.start() else { return };
    let client = world.client();
    for path in PUBLIC {
        for bot in [
            Some(GOOGLE),
            Some(HEADLESS),
            Some("sqlmap/1.7"),
            Some(""),
            None,
        ] {
            let answer = ask_as(&client, bot, path).await;

            assert_eq!(answer.code(), "bot_detected", "{bot:?} at {path}");
            assert_eq!(answer.rate_limit(), None, "it counts against no limit");
        }
        for agent in [
            "curl/8.5.0",
            "okhttp/4.12.0",
            "axios/1.7.2",
            "Dart/3.4 (dart:io)",
        ] {
            assert_eq!(
                ask_as(&client, Some(agent), path).await.status,
                400,
                "{agent}"
            );
        }
    }
    let last = ask_as(&client, Some("curl/8.5.0"), PUBLIC[0]).await;
    assert_eq!(last.rate_limit().unwrap().1, 100 - 24 - 1);
}

#[tokio::test]
async fn by_default_bots_are_served_and_logged_and_can_be_ignored() {
    for (mode, logged) in [("log", 2), ("off", 0)] {
        let world = World::build().variable("BOT_PROTECTION", mode);
        let Some(world) = world.start() else { return };
        let client = world.client();

        for agent in [Some(GOOGLE), None, Some("curl/8.5.0")] {
            assert_eq!(ask_as(&client, agent, PUBLIC[1]).await.status, 400);
        }

        let is_bot = |line: &&Value| line["message"] == "bot" && line["is_blocked"] == false;
        assert_eq!(world.log().iter().filter(is_bot).count(), logged, "{mode}");
    }
}
