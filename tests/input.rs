//! What every endpoint with a body has in common.

use harness::client::with_content_type;
use harness::{Client, World};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

/// Every endpoint that takes a body, as a signed-in user would call it.
fn endpoints(client: &Client, access: &str) -> Vec<(String, RequestBuilder)> {
    [
        (Method::POST, "/api/auth/register"),
        (Method::POST, "/api/auth/login"),
        (Method::POST, "/api/auth/refresh"),
        (Method::POST, "/api/auth/logout"),
        (Method::POST, "/api/auth/change-password"),
        (Method::POST, "/api/auth/password-reset/request"),
        (Method::POST, "/api/auth/password-reset/confirm"),
        (Method::POST, "/api/auth/verify-email"),
        (Method::POST, "/api/auth/verify-email/resend"),
        (Method::PUT, "/api/auth/profile"),
        (Method::DELETE, "/api/auth/profile"),
    ]
    .map(|(method, path)| {
        (
            format!("{method} {path}"),
            client.request(method, path).bearer_auth(access),
        )
    })
    .into()
}

/// security.md 36.
#[tokio::test]
async fn only_one_json_object_without_repeated_keys_is_taken() {
    let world = World::start();
    let client = world.client();
    let access = client.register().await.access;
    for body in [
        "{",
        "[]",
        "null",
        "\"text\"",
        "7",
        "{} {}",
        "{'a': 1}",
        r#"{"a":1,"a":1}"#,
        r#"{"password":"x","password":"y"}"#,
        r#"{"password":"x","\u0070assword":"y"}"#,
        "\u{feff}{}",
        "a=b",
    ] {
        for (name, request) in endpoints(&client, &access) {
            let answer = client
                .send(with_content_type(request, "application/json", body))
                .await;

            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (400, "malformed_json"),
                "{name} {body}"
            );
        }
    }
    for (name, request) in endpoints(&client, &access) {
        let answer = client
            .send(with_content_type(
                request,
                "application/json",
                vec![b'{', 0xFF, b'}'],
            ))
            .await;

        assert_eq!(answer.code(), "malformed_json", "{name}: no UTF-8");
    }
}

#[tokio::test]
async fn an_unknown_field_is_named() {
    let world = World::start();
    let client = world.client();
    let access = client.register().await.access;
    for (name, request) in endpoints(&client, &access) {
        let answer = client
            .send(request.json(&json!({ "isAdmin": true, "__proto__": {} })))
            .await;

        assert_eq!(answer.code(), "validation_failed", "{name}");
        assert!(
            answer
                .fields()
                .is_superset(&["isAdmin", "__proto__"].into()),
            "{name} {answer:?}"
        );
    }
}

/// Missing, mistyped, rule-breaking and unknown fields at once, each with a code that a form in any language can
/// act on.
#[tokio::test]
async fn a_body_whose_every_field_is_wrong_in_a_different_way_is_one_answer() {
    let world = World::start();
    let client = world.client();
    let access = client.register().await.access;
    let long = "x".repeat(129);
    for (method, path, body, expected) in [
        (
            Method::POST,
            "/api/auth/register",
            json!({ "email": "ada@", "username": "a", "name": 7, "a": 1 }),
            vec![
                ("a", "unknown_field", json!(null)),
                ("email", "invalid_email", json!(null)),
                ("name", "wrong_type", json!({ "expected": "string" })),
                ("password", "required", json!(null)),
                ("username", "too_short", json!({ "min": 3 })),
            ],
        ),
        (
            Method::POST,
            "/api/auth/login",
            json!({ "password": long, "twoFactorToken": "12345", "rememberMe": "yes" }),
            vec![
                ("identifier", "exactly_one", json!(null)),
                ("password", "too_long", json!({ "max": 128 })),
                ("rememberMe", "wrong_type", json!({ "expected": "boolean" })),
                ("twoFactorToken", "invalid_code", json!(null)),
            ],
        ),
        (
            Method::PUT,
            "/api/auth/profile",
            json!({ "username": "a b!", "name": "a\u{7}", "avatarUrl": "http://x", "email": "a@b.c" }),
            vec![
                ("avatarUrl", "invalid_url", json!(null)),
                ("email", "unknown_field", json!(null)),
                ("name", "control_characters", json!(null)),
                ("username", "invalid_characters", json!(null)),
            ],
        ),
        (
            Method::POST,
            "/api/auth/change-password",
            json!({ "currentPassword": null, "newPassword": "abcdefg" }),
            vec![
                ("currentPassword", "required", json!(null)),
                ("newPassword", "too_short", json!({ "min": 8 })),
                ("newPassword", "missing_upper_case", json!(null)),
                ("newPassword", "missing_digit", json!(null)),
            ],
        ),
        (
            Method::POST,
            "/api/auth/password-reset/confirm",
            json!({ "token": "x", "newPassword": false }),
            vec![
                ("newPassword", "wrong_type", json!({ "expected": "string" })),
                ("token", "invalid_token", json!(null)),
            ],
        ),
        (
            Method::POST,
            "/api/auth/2fa/verify",
            json!({ "token": 123_456, "deviceId": [], "regenerate": 1 }),
            vec![
                ("deviceId", "wrong_type", json!({ "expected": "string" })),
                ("regenerate", "wrong_type", json!({ "expected": "boolean" })),
                ("token", "wrong_type", json!({ "expected": "string" })),
            ],
        ),
    ] {
        let request = client.request(method, path).bearer_auth(&access);

        let answer = client.send(request.json(&body)).await;

        assert_eq!(answer.code(), "validation_failed", "{path}");
        let details = answer["details"].as_array().unwrap().iter();
        let mut details: Vec<_> = details
            .map(|detail| {
                let text = |name: &str| detail[name].as_str().unwrap();
                (text("field"), text("code"), detail["params"].clone())
            })
            .collect();
        details.sort_by_key(|(field, ..)| *field);
        assert_eq!(details, expected, "{path}");
    }
}

#[tokio::test]
async fn a_body_must_be_declared_as_json() {
    let world = World::start();
    let client = world.client();
    let access = client.register().await.access;
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/json; charset=latin1",
    ] {
        for (name, request) in endpoints(&client, &access) {
            let answer = client
                .send(with_content_type(request, content_type, r#"{"a":1}"#))
                .await;

            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (415, "unsupported_media_type"),
                "{name} {content_type}"
            );
        }
    }
    for content_type in ["application/json;charset=UTF-8", "Application/JSON"] {
        let request = client.request(Method::POST, "/api/auth/login");

        assert_eq!(
            client
                .send(with_content_type(request, content_type, "{}"))
                .await
                .code(),
            "validation_failed"
        );
    }
}

#[tokio::test]
async fn sixteen_kibibytes_are_the_most() {
    let world = World::start();
    let client = world.client();
    let access = client.register().await.access;
    let body = |size: usize| format!(r#"{{"padding":"{}"}}"#, "x".repeat(size - 14));
    assert_eq!(body(100).len(), 100);
    for (name, request) in endpoints(&client, &access) {
        let largest = request.try_clone().unwrap();
        let largest = client
            .send(with_content_type(
                largest,
                "application/json",
                body(16 * 1024),
            ))
            .await;
        let larger = client
            .send(with_content_type(
                request,
                "application/json",
                body(16 * 1024 + 1),
            ))
            .await;

        assert_eq!(largest.code(), "validation_failed", "{name}");
        assert_eq!(
            (larger.status.as_u16(), larger.code()),
            (413, "payload_too_large"),
            "{name}"
        );
    }
}
