//! Answers: one shape for success, one for failure, one set of headers for both.

use http::header::{self, HeaderName};
use http::{HeaderValue, StatusCode};
use lambda_http::Body;
use serde::Serialize;

use crate::error::{ApiError, Detail};

/// On every answer of every function.
const HEADERS: [(HeaderName, &str); 8] = [
    (header::CONTENT_TYPE, "application/json; charset=utf-8"),
    (header::CACHE_CONTROL, "no-store"),
    (
        header::STRICT_TRANSPORT_SECURITY,
        "max-age=63072000; includeSubDomains",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a handler answers.
#[derive(Debug)]
pub struct Response {
    status: StatusCode,
    body: String,
}

#[derive(Serialize)]
struct Success<'a, T> {
    success: bool,
    message: &'a str,
    #[serde(flatten)]
    fields: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure<'a> {
    success: bool,
    error: &'a str,
    message: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a [Detail]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

/// No fields beside the message.
#[derive(Serialize)]
struct Nothing {}

impl Response {
    /// 200.
    pub fn ok(message: &str, fields: impl Serialize) -> Self {
        Self::success(StatusCode::OK, message, fields)
    }

    /// 201.
    pub fn created(message: &str, fields: impl Serialize) -> Self {
        Self::success(StatusCode::CREATED, message, fields)
    }

    /// 200 with the message alone.
    pub fn done(message: &str) -> Self {
        Self::ok(message, Nothing {})
    }

    fn success(status: StatusCode, message: &str, fields: impl Serialize) -> Self {
        Self {
            status,
            body: json(&Success {
                success: true,
                message,
                fields,
            }),
        }
    }

    pub(super) fn into_http(self, request_id: &str) -> http::Response<Body> {
        render(self.status, self.body, request_id)
    }
}

pub(super) fn failure(error: &ApiError, request_id: &str) -> http::Response<Body> {
    let details = match error {
        ApiError::ValidationFailed(details) => Some(details.as_slice()),
        _ => None,
    };
    let retry_after = error.retry_after_seconds();
    let body = Failure {
        success: false,
        error: error.code(),
        message: error.message(),
        request_id,
        details,
        retry_after,
    };
    let mut response = render(error.status(), json(&body), request_id);
    if let Some(challenge) = error.challenge() {
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(challenge),
        );
    }
    if let Some(seconds) = retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn render(status: StatusCode, body: String, request_id: &str) -> http::Response<Body> {
    let mut response = http::Response::new(Body::Text(body));
    *response.status_mut() = status;
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    // Only a malformed event has an id that is no header value; it does without.
    if let Ok(value) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

#[expect(
    clippy::expect_used,
    reason = "plain structs with string keys serialise to JSON"
)]
fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("a body is plain data")
}
