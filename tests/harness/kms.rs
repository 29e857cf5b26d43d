//! KMS with one key, which signs.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::peers::FaultyService;
use crate::token::{KeyPair, key_set};
use crate::world::{Builder, World};

/// The key's ARN.
pub const ARN: &str = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// Lets a world sign with a key in KMS, behind a proxy that fails on command.
pub async fn signing(world: Builder) -> (Builder, FaultyService) {
    let key = Arc::new(KeyPair::generate());
    let private = format!("{ARN}#{}", key.thumbprint());
    let public = key_set(&[&key]);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().fallback(sign).with_state(key);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let faulty = FaultyService::start().await;
    faulty.set_upstream(&url);
    let world = world
        .variable("JWT_PRIVATE_KEY", &private)
        .variable("JWT_PUBLIC_KEYS", &public)
        .variable("AWS_ENDPOINT_URL_KMS", &faulty.url);
    (world, faulty)
}

/// Starts such a world.
pub async fn world() -> Option<(World, FaultyService)> {
    let (world, kms) = signing(World::build()).await;
    Some((world.start()?, kms))
}

/// Answers `Sign` (AWS KMS API reference).
async fn sign(
    State(key): State<Arc<KeyPair>>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, Json<Value>) {
    let asked: Value = serde_json::from_str(&body).expect("JSON");
    let algorithm = "RSASSA_PKCS1_V1_5_SHA_256";
    let is_known = headers["x-amz-target"] == "TrentService.Sign"
        && asked["KeyId"] == ARN
        && asked["MessageType"] == "RAW"
        && asked["SigningAlgorithm"] == algorithm;
    if !is_known {
        let error = json!({ "__type": "ValidationException", "message": "unknown" });
        return (StatusCode::BAD_REQUEST, Json(error));
    }
    let message = STANDARD.decode(asked["Message"].as_str().expect("a message"));
    let signature = STANDARD.encode(key.sign(&message.expect("base64")));
    let answer = json!({ "KeyId": ARN, "Signature": signature, "SigningAlgorithm": algorithm });
    (StatusCode::OK, Json(answer))
}
