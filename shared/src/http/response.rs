//! Answers: one shape for success, one for failure, one set of headers for both.

use std::borrow::Cow;

use http::StatusCode;
use serde::Serialize;

use super::event::Answer;
use crate::domain::rate_limit::Quota;
use crate::error::{ApiError, Detail};
use crate::json;

/// On every answer of every function.
const HEADERS: [(&str, &str); 8] = [
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    ("content-type", "application/json; charset=utf-8"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    (
        "strict-transport-security",
        "max-age=63072000; includeSubDomains",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

/// With the request's id, two of its limits and two of a failure.
const MOST_HEADERS: usize = HEADERS.len() + 5;

/// What a handler answers.
#[derive(Debug)]
pub struct Response {
    status: StatusCode,
    body: String,
    cookies: Vec<String>,
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
            body: json::write(&Success {
                success: true,
                message,
                fields,
            }),
            cookies: Vec::new(),
        }
    }

    /// The same, setting these cookies.
    pub fn with_cookies(self, cookies: Vec<String>) -> Self {
        Self { cookies, ..self }
    }

    pub(super) fn into_answer(self, request_id: &str, quota: Option<&Quota>) -> Answer {
        let cookies = self.cookies;
        Answer {
            cookies,
            ..render(self.status, self.body, request_id, quota)
        }
    }
}

/// What the client is told of its limits is what the error is about, if it is about one.
pub(super) fn failure(error: &ApiError, request_id: &str, quota: Option<&Quota>) -> Answer {
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
    let mut answer = render(
        error.status(),
        json::write(&body),
        request_id,
        error.quota().or(quota),
    );
    let challenge = error.challenge().map(Cow::Borrowed);
    let retry_after = retry_after.map(|seconds| seconds.to_string().into());
    for (name, value) in [
        ("www-authenticate", challenge),
        ("retry-after", retry_after),
    ] {
        answer.headers.extend(value.map(|value| (name, value)));
    }
    answer
}

fn render(status: StatusCode, body: String, request_id: &str, quota: Option<&Quota>) -> Answer {
    let mut headers = Vec::with_capacity(MOST_HEADERS);
    headers.extend(HEADERS.map(|(name, value)| (name, Cow::Borrowed(value))));
    headers.push(("x-request-id", request_id.to_owned().into()));
    if let Some(quota) = quota {
        headers.push(("ratelimit-policy", quota.policy.to_string().into()));
        headers.push(("ratelimit", quota.header().into()));
    }
    Answer {
        status_code: status.as_u16(),
        headers,
        cookies: Vec::new(),
        body,
    }
}
