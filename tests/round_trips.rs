//! How often a request waits for a store; concurrent requests to stores count once.

use harness::client::{unique_email, unique_password};
use harness::round_trips::RoundTrips;
use harness::{Client, World};
use local::redis::Redis;
use serde_json::json;

/// Starts a world with the default limits, whose requests travel together with the others to Redis.
async fn world() -> Option<(World, RoundTrips, Redis)> {
    let redis = Redis::start(None, &[]).unwrap();
    let trips = RoundTrips::start().await;
    let world = World::build()
        .default_limits()
        .variable("REDIS_URL", &format!("redis://{}", trips.redis))
        .variable(
            "AWS_ENDPOINT_URL_DYNAMODB",
            &format!("http://{}", trips.dynamodb),
        )
        .start()?;
    trips.set_upstreams(&redis.url, &world.local().info().dynamodb_url);
    Some((world, trips, redis))
}

/// Uses each of the five functions once, so that connections are open and scripts are loaded.
async fn warm_up(client: &Client) {
    let account = client.register().await;
    let (access, refresh) = client.login(&account).await;
    assert_eq!(client.profile(&access).await.status, 200);
    assert_eq!(client.refresh(&refresh).await.status, 200);
    assert_eq!(client.logout(&access).await.status, 200);
}

#[tokio::test]
async fn every_request_waits_for_the_stores_as_seldom_as_can_be() {
    let Some((world, trips, _redis)) = world().await else {
        return;
    };
    warm_up(&world.client()).await;
    let client = world.client();

    let body = json!({ "email": unique_email(), "password": unique_password() });
    let registering = client.post("/api/auth/register", body.clone());
    let (register, registered) = trips.of(registering).await;
    assert_eq!(registered.status, 201, "{registered:?}");

    let (login, signed_in) = trips.of(client.post("/api/auth/login", body)).await;
    assert_eq!(signed_in.status, 200, "{signed_in:?}");

    let (profile, shown) = trips
        .of(client.profile(&signed_in.text("accessToken")))
        .await;
    assert_eq!(shown.status, 200, "{shown:?}");

    let (refresh, refreshed) = trips
        .of(client.refresh(&signed_in.text("refreshToken")))
        .await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");

    let (logout, signed_out) = trips
        .of(client.logout(&refreshed.text("accessToken")))
        .await;
    assert_eq!(signed_out.status, 200, "{signed_out:?}");

    // Register: the limits; then, after the hash, the session, and the account. Login: the limits; the claim;
    // everything about the account; after the hash, everything that a sign-in writes. Logout: the session; its end, if
    // it has ended.
    let counted = [register, login, profile, refresh, logout];
    assert_eq!(counted, [3, 4, 1, 1, 2]);
}
