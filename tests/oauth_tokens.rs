//! `GET /api/auth/oauth/links/{provider}/tokens`, and the keeping of these tokens.

use harness::client::unique_email;
use harness::oauth::{self, FAKE, FakeProvider, verified};
use harness::{World, passkey};
use serde_json::{Value, json};

const PATH: &str = "/api/auth/oauth/links/fake/tokens";

/// A provider whose tokens are kept.
async fn keeping() -> Option<(World, FakeProvider)> {
    let provider = FakeProvider::start().await;
    let configuration = provider.configuration(json!({ "keepTokens": true }));
    let world = oauth::configure(World::build(), &[configuration]).start()?;
    Some((world, provider))
}

/// Returns everything in both tables as one text.
async fn everything(world: &World) -> String {
    let dynamodb = world.dynamodb();
    let mut text = format!("{:?}", dynamodb.items("IDENTITY#").await);
    for prefix in ["GRANT#", "OAUTH#", "USER#"] {
        text.push_str(&format!("{:?}", dynamodb.items(prefix).await));
    }
    text
}

#[tokio::test]
async fn tokens_are_kept_encrypted_and_read_by_their_user() {
    let Some((world, provider)) = keeping().await else {
        return;
    };
    let client = world.client();
    let claims = verified(&unique_email());
    provider.script().refresh_token = json!("a refresh token of the provider");

    let (begun, fragment) = provider.answer(&client, claims.clone()).await;
    assert!(
        !everything(&world).await.contains("of the provider"),
        "in the grant"
    );
    let signed_in = oauth::login(&client, &begun, &oauth::grant(&fragment)).await;
    let access = signed_in.text("accessToken");
    let first = client.get_as(&access, PATH).await;

    let tokens = &first["providerTokens"];
    assert_eq!(
        tokens["accessToken"], "an access token of the provider",
        "{first:?}"
    );
    assert_eq!(tokens["refreshToken"], "a refresh token of the provider");
    assert!(tokens["expiresAt"].is_string(), "{tokens}");
    assert!(
        !everything(&world).await.contains("of the provider"),
        "in the link"
    );
    // The next sign-in replaces them.
    provider.script().refresh_token = Value::Null;
    provider.signed_in(&client, claims).await;
    let second = client.get_as(&access, PATH).await;
    assert_eq!(
        second["providerTokens"]["refreshToken"],
        Value::Null,
        "{second:?}"
    );
}

#[tokio::test]
async fn a_link_keeps_them_and_unlinking_removes_them() {
    let Some((world, provider)) = keeping().await else {
        return;
    };
    let client = world.client();
    let account = passkey::proven(&world, &client).await;
    let linked = provider
        .link(&client, &account, verified(&unique_email()))
        .await;
    assert_eq!(linked.status, 200, "{linked:?}");
    let kept = client.get_as(&account.access, PATH).await;
    assert_eq!(
        kept["providerTokens"]["accessToken"],
        "an access token of the provider"
    );

    oauth::unlink(&client, &account.access, FAKE).await;

    let gone = client.get_as(&account.access, PATH).await;
    assert_eq!(gone.code(), "not_found");
    assert!(world.dynamodb().items("IDENTITY#").await.is_empty());
}

#[tokio::test]
async fn without_the_setting_nothing_is_kept() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let signed_in = provider.signed_in(&client, verified(&unique_email())).await;
    let access = signed_in.text("accessToken");

    assert_eq!(client.get_as(&access, PATH).await.code(), "not_found");
    let links = world.dynamodb().items("IDENTITY#").await;
    assert!(
        links.len() == 1 && links[0]["tokens"].is_null(),
        "{links:?}"
    );
    let other = client
        .get_as(&access, "/api/auth/oauth/links/other/tokens")
        .await;
    assert_eq!(other.code(), "not_found");
}

/// The tokens are bound to their user and identity: whoever can write the table cannot give them to another one.
#[tokio::test]
async fn tokens_of_another_user_cannot_be_read() {
    let Some((world, provider)) = keeping().await else {
        return;
    };
    let (client, dynamodb) = (world.client(), world.dynamodb());
    let mut signed_in = Vec::new();
    for _ in 0..2 {
        signed_in.push(provider.signed_in(&client, verified(&unique_email())).await);
    }
    let links = dynamodb.items("IDENTITY#").await;
    let key = |at: usize| links[at]["pk"]["S"].as_str().unwrap().to_owned();
    let table = dynamodb.credentials.clone();
    dynamodb
        .set(
            &table,
            &key(0),
            "LINK",
            "tokens",
            links[1]["tokens"].clone(),
        )
        .await;

    let owner = links[0]["user_id"]["S"].as_str().unwrap();
    let victim = signed_in
        .iter()
        .find(|answer| answer["user"]["id"] == owner)
        .unwrap();
    let answer = client.get_as(&victim.text("accessToken"), PATH).await;
    assert_eq!(answer.status, 500, "{answer:?}");
}
