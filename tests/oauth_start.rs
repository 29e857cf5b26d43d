//! `POST /api/auth/oauth/start`.

use std::collections::BTreeMap;

use harness::World;
use harness::oauth::{self, CLIENT_ID, FAKE, FakeProvider};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn the_page_asks_with_state_nonce_and_pkce() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();

    let (one, two) = (
        oauth::start(&client, FAKE).await,
        oauth::start(&client, FAKE).await,
    );

    assert!(
        one.page
            .as_str()
            .starts_with(&format!("{}/page?", provider.url))
    );
    let mut parameters: BTreeMap<_, _> = one.page.query_pairs().into_owned().collect();
    for name in ["state", "nonce", "code_challenge"] {
        let value = parameters.remove(name).unwrap_or_default();
        assert!(value.len() >= 43, "{name}: {value}");
        assert_ne!(Some(value), two.parameter(name), "{name}");
    }
    let callback = format!("{}/api/auth/oauth/callback/{FAKE}", world.url());
    let expected = [
        ("client_id", CLIENT_ID),
        ("code_challenge_method", "S256"),
        ("redirect_uri", &callback),
        ("response_type", "code"),
        ("scope", "openid email profile"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(parameters, expected.into());
    assert_ne!(one.request_token, two.request_token);
    // Only hashes of what the browser and the client have are stored.
    let items = format!("{:?}", world.dynamodb().items("OAUTH#").await);
    assert!(!items.contains(&one.request_token) && items.contains(FAKE));
    assert!(!items.contains(&one.parameter("state").unwrap()));
}

#[tokio::test]
async fn a_provider_that_is_not_configured_does_not_exist() {
    let world = World::start();
    for (provider, status) in [("unknown", 404), ("Not a name", 400), ("", 400)] {
        let body = json!({ "provider": provider });
        let answer = world.client().post("/api/auth/oauth/start", body).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

#[tokio::test]
async fn the_origin_of_the_page_chooses_the_front_end_to_return_to() {
    let provider = FakeProvider::start().await;
    let world = provider.configure(World::build());
    let frontends = "https://app.example.com,https://admin.example.com/a";
    let world = world.variable("FRONTEND_URL", frontends);
    let world = world.variable(
        "CORS_ALLOWED_ORIGINS",
        "https://admin.example.com,https://evil.example",
    );
    let Some(world) = world.start() else { return };
    let client = world.client();

    for (origin, page) in [
        (
            "https://admin.example.com",
            "https://admin.example.com/a/oauth#",
        ),
        ("https://evil.example", "https://app.example.com/oauth#"),
    ] {
        let request = client.request(Method::POST, "/api/auth/oauth/start");
        let request = request
            .header("origin", origin)
            .json(&json!({ "provider": FAKE }));
        let answer = client.send(request).await;
        let page_of_provider: url::Url = answer.text("authorizationUrl").parse().unwrap();
        let state = page_of_provider
            .query_pairs()
            .find(|(name, _)| name == "state");
        let path = format!(
            "/api/auth/oauth/callback/{FAKE}?error=access_denied&state={}",
            state.unwrap().1
        );
        let back = client.send(client.request(Method::GET, &path)).await;
        let location = back.header("location").unwrap();
        assert!(location.starts_with(page), "{location}");
    }
}
