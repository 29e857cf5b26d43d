//! Access tokens at every protected endpoint, and the authentication in `shared` in ways that no real endpoint uses
//! (function `fixture`).

use harness::{World, token};
use reqwest::Method;
use serde_json::{Value, json};

const SECRET: &str = "an access token secret of 32 bytes or more";

/// security.md 16 and 17.
#[tokio::test]
async fn forged_and_foreign_tokens_are_refused_everywhere() {
    let Some(world) = World::build().variable("JWT_SECRET", SECRET).start() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let (header, claims) = token::parts(&account.access);
    let with = |value: &Value, name: &str, new: Value| {
        let mut value = value.clone();
        value[name] = new;
        value
    };
    let forge = |header: &Value, claims: &Value| token::forge(header, claims, SECRET.as_bytes());
    assert_eq!(
        client.profile(&forge(&header, &claims)).await.status,
        200,
        "the forged token is valid"
    );
    let unsigned = |alg: &str| {
        let token = forge(&with(&header, "alg", json!(alg)), &claims);
        format!("{}.", token.rsplit_once('.').unwrap().0)
    };

    for bad in [
        unsigned("none"),
        unsigned("None"),
        forge(&with(&header, "alg", json!("HS384")), &claims),
        forge(&with(&header, "alg", json!({ "HS256": null })), &claims),
        forge(&header, &with(&claims, "iat", json!(4_000_000_000_i64))),
        forge(&with(&header, "alg", json!("RS256")), &claims),
        forge(&with(&header, "kid", json!("unknown")), &claims),
        forge(&with(&header, "kid", json!("../../dev/null")), &claims),
        forge(&with(&header, "typ", json!("JWT")), &claims),
        token::forge(
            &with(&header, "jku", json!("https://example.com/keys")),
            &claims,
            b"another secret",
        ),
        token::forge(
            &with(&header, "x5u", json!("https://example.com/cert")),
            &claims,
            b"another secret",
        ),
        token::forge(
            &with(
                &header,
                "jwk",
                json!({ "kty": "oct", "k": "YW5vdGhlciBzZWNyZXQ" }),
            ),
            &claims,
            b"another secret",
        ),
        token::forge(&header, &claims, b""),
        forge(
            &header,
            &with(&claims, "iss", json!("https://other.example")),
        ),
        forge(&header, &with(&claims, "aud", json!("other"))),
        forge(&header, &with(&claims, "type", json!("refresh"))),
        forge(
            &header,
            &with(&claims, "sub", json!("01ARZ3NDEKTSV4RRFFQ69G5FAV")),
        ),
        format!("{}x", account.access),
        account.access[..account.access.len() - 3].to_owned(),
        "nonsense".to_owned(),
    ] {
        for (method, path) in [
            (Method::GET, "/api/auth/profile"),
            (Method::PUT, "/api/auth/profile"),
            (Method::DELETE, "/api/auth/profile"),
            (Method::POST, "/api/auth/logout"),
        ] {
            let answer = client
                .send(
                    client
                        .request(method, path)
                        .bearer_auth(&bad)
                        .json(&json!({})),
                )
                .await;

            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (401, "invalid_token"),
                "{path} {bad}"
            );
        }
    }
    let expired = forge(&header, &with(&claims, "exp", json!(1_000_000_000)));
    assert_eq!(client.profile(&expired).await.code(), "token_expired");
    // A logout only ends the token's own session, so an expired token is accepted.
    assert_eq!(client.logout(&expired).await.status, 200);
}

/// security.md I8. A function whose clock is a day behind refuses every token issued in its future, so it accepts none
/// that expired hours ago.
#[tokio::test]
async fn a_clock_that_is_behind_accepts_nothing_from_its_future() {
    let Some(builder) = World::build().clock("profile", "-1d") else {
        return;
    };
    let Some(world) = builder.start() else { return };
    let client = world.client();
    let account = client.register().await;

    assert_eq!(
        client.profile(&account.access).await.code(),
        "invalid_token"
    );
}

#[tokio::test]
async fn an_access_token_expires() {
    let Some(world) = World::build().variable("JWT_EXPIRY", "1s").start() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    token::wait_until_expired(&account.access).await;

    assert_eq!(
        client.profile(&account.access).await.code(),
        "token_expired"
    );
    assert_eq!(client.refresh(&account.refresh).await.status, 200);
}

/// security.md 18.
#[tokio::test]
async fn a_token_anywhere_but_in_the_header_is_ignored() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    let path = format!("/api/auth/profile?access_token={}", account.access);
    let form = format!("access_token={}", account.access);

    let query = client.send(client.request(Method::GET, &path)).await;
    let form = client
        .request(Method::POST, "/api/auth/logout")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form);
    let form = client.send(form).await;
    let cookie = client
        .request(Method::GET, "/api/auth/profile")
        .header("cookie", format!("access_token={}", account.access));

    assert_eq!(
        (query.code(), form.code()),
        ("missing_token", "missing_token")
    );
    assert_eq!(client.send(cookie).await.code(), "missing_token");
}

#[tokio::test]
async fn the_scheme_is_bearer_in_any_case_and_nothing_else() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    for (value, code) in [
        (format!("bearer {}", account.access), ""),
        (format!("BEARER  {}", account.access), ""),
        (account.access.clone(), "invalid_token"),
        (format!("Basic {}", account.access), "invalid_token"),
        (format!("Bearer{}", account.access), "invalid_token"),
        ("Bearer ".to_owned(), "invalid_token"),
        (
            format!("Bearer {0}, Bearer {0}", account.access),
            "invalid_token",
        ),
    ] {
        let request = client
            .request(Method::GET, "/api/auth/profile")
            .header("authorization", &value);

        assert_eq!(client.send(request).await.code(), code, "{value}");
    }
}

#[tokio::test]
async fn required_optional_and_by_role() {
    let Some(world) = World::build().fixture().start() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let get = async |path: &str, token: Option<&str>| {
        let function = match path {
            "optional" => "fixture",
            _ => "fixture-authenticated",
        };
        let request = client.request(Method::GET, &format!("/{function}/{path}"));
        client
            .send(
                token
                    .into_iter()
                    .fold(request, |request, token| request.bearer_auth(token)),
            )
            .await
    };
    let access = Some(account.access.as_str());

    assert_eq!(get("required", None).await.code(), "missing_token");
    assert_eq!(get("required", access).await["who"], account.id);
    assert_eq!(
        get("optional", None).await["who"],
        Value::Null,
        "no token: an anonymous request"
    );
    assert_eq!(get("optional", access).await["who"], account.id);
    assert_eq!(
        get("optional", Some("nonsense")).await.code(),
        "invalid_token",
        "a bad token is not an anonymous request"
    );
    assert_eq!(get("admin", None).await.code(), "missing_token");
    let user = get("admin", access).await;
    assert_eq!((user.status.as_u16(), user.code()), (403, "forbidden"));

    world
        .dynamodb()
        .set_user(&account.id, "role", json!({ "S": "admin" }))
        .await;
    assert_eq!(
        get("admin", access).await["who"],
        account.id,
        "the role comes from the record, not from the token"
    );
    client.logout(&account.access).await;
    for path in ["required", "optional", "admin"] {
        assert_eq!(get(path, access).await.code(), "token_revoked", "{path}");
    }
}
