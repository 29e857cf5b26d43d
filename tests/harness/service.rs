//! A service that asks about tokens (RFC 7662, RFC 7009).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder};

use crate::World;
use crate::client::{Answer, Client};
use crate::world::Builder;

/// The id and the secret of a service.
pub const ONE: &str = "one:the-secret-of-the-first-service";
/// The same of another service, which has a second secret as well.
pub const TWO: &str = "two:the-secret-of-the-second-service";
const SECOND_OF_TWO: &str = "two:the-second-secret-of-the-second-service";

const FORM: &str = "application/x-www-form-urlencoded";

/// Returns a world with both services.
pub fn world() -> Builder {
    let entries = [ONE, TWO, SECOND_OF_TWO].map(|credentials| {
        let (id, secret) = credentials.split_once(':').expect("an id");
        let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, secret.as_bytes()));
        format!("{id}:{hash}")
    });
    World::build().variable("SERVICE_CLIENTS", &entries.join(","))
}

fn request(client: &Client, path: &str, authorization: &str, form: &str) -> RequestBuilder {
    client
        .request(Method::POST, path)
        .header(AUTHORIZATION, authorization)
        .header(CONTENT_TYPE, FORM)
        .body(form.to_owned())
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

/// Asks about a token with these credentials. A success has the form of its own standard.
pub async fn ask(client: &Client, path: &str, credentials: &str, token: &str) -> Answer {
    let form = format!("token={token}&token_type_hint=access_token");
    let request = request(client, path, &basic(credentials), &form);
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    assert_eq!(headers["cache-control"], "no-store");
    Answer {
        status,
        headers,
        body: response.json().await.expect("JSON"),
        was_repeated: false,
    }
}

/// Expects that nobody but a service with its secret is answered.
pub async fn is_for_services_alone(client: &Client, path: &str, access: &str) {
    let form = format!("token={access}");
    let (one, two) = (basic(ONE), basic(TWO));
    for authorization in [
        String::new(),
        "Basic".to_owned(),
        "Basic !".to_owned(),
        format!("Bearer {access}"),
        one.replace("Basic", "Bearer"),
        basic("one:"),
        basic("one:the-secret-of-the-second-service"),
        basic("three:the-secret-of-the-first-service"),
        basic("the-secret-of-the-first-service"),
        format!("{one}, {two}"),
    ] {
        let answer = client
            .send(request(client, path, &authorization, &form))
            .await;
        assert_eq!(answer.code(), "invalid_client", "{authorization}");
        let challenge = answer.header("www-authenticate").expect("a challenge");
        assert!(challenge.starts_with("Basic "), "{challenge}");
    }
    let without = client
        .request(Method::POST, path)
        .header(CONTENT_TYPE, FORM);
    let in_form = format!("{form}&client_id=one&client_secret=the-secret-of-the-first-service");
    let answer = client.send(without.body(in_form)).await;
    assert_eq!(answer.code(), "invalid_client");
}

/// Expects that a request without exactly one token in a form is refused.
pub async fn needs_a_form_with_one_token(client: &Client, path: &str, access: &str) {
    let authorization = basic(ONE);
    let token = format!("token={access}");
    for form in [
        String::new(),
        "token".to_owned(),
        "token=".to_owned(),
        format!("access_{token}"),
        format!("{token}&{token}"),
        format!("token=&{token}"),
        format!("{{\"token\":\"{access}\"}}"),
    ] {
        let answer = client
            .send(request(client, path, &authorization, &form))
            .await;
        assert_eq!(answer.code(), "invalid_request", "{form}");
    }
    let json = client
        .request(Method::POST, path)
        .header(AUTHORIZATION, &authorization)
        .header(CONTENT_TYPE, "application/json")
        .body(token.clone());
    assert_eq!(client.send(json).await.code(), "invalid_request");
    let in_query = format!("{path}?{token}");
    let in_query = request(client, &in_query, &authorization, "");
    assert_eq!(client.send(in_query).await.code(), "invalid_request");
    let long = format!("{token}{}", "x".repeat(17_000));
    let long = request(client, path, &authorization, &long);
    assert_eq!(client.send(long).await.code(), "payload_too_large");
}
