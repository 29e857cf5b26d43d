//! Answers: one shape for success, one for failure, one set of headers for both.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
    LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, STRICT_TRANSPORT_SECURITY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use tower_http::set_header::HeaderMetadata;

use crate::api::{Empty, Failure, Success};
use crate::domain::rate_limit::Quota;
use crate::error::ApiError;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

const CONTENT_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// Returns the headers of every answer of every function; a page replaces two of them.
pub(crate) fn fixed_headers<B>() -> Vec<HeaderMetadata<http::Response<B>>> {
    let headers = [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (CONTENT_TYPE, "application/json; charset=utf-8"),
        (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
        (REFERRER_POLICY, "no-referrer"),
        (
            STRICT_TRANSPORT_SECURITY,
            "max-age=63072000; includeSubDomains",
        ),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
    ];
    headers
        .map(|(name, value)| (name, HeaderValue::from_static(value)).into())
        .into()
}

/// An answer on its way to the client.
pub(crate) type Answer = http::Response<Full<Bytes>>;

/// The outcome of a request, for its log line: `ok`, or the error's code.
#[derive(Clone, Copy)]
pub(crate) struct Outcome(&'static str);

impl Outcome {
    /// Returns the outcome; `None` if the answer came neither from a handler nor from an error.
    pub(crate) fn of<B>(answer: &http::Response<B>) -> Option<&'static str> {
        let outcome = answer.extensions().get::<Self>();
        outcome.map(|Self(outcome)| *outcome)
    }
}

/// The variable of the exceeded limit, for the log line.
#[derive(Clone)]
pub(crate) struct LimitedBy(String);

impl LimitedBy {
    /// Returns the variable; `None` if no limit was exceeded.
    pub(crate) fn of<B>(answer: &http::Response<B>) -> Option<&str> {
        let limited = answer.extensions().get::<Self>();
        limited.map(|Self(variable)| variable.as_str())
    }
}

/// A handler's answer.
#[derive(Debug)]
pub struct Response {
    status: StatusCode,
    body: Bytes,
    headers: HeaderMap,
}

impl Response {
    /// Returns a 200 with a message and these fields.
    pub fn ok(message: &str, fields: impl Serialize) -> Self {
        Self::success(StatusCode::OK, message, fields)
    }

    /// Returns a 201 with a message and these fields.
    pub fn created(message: &str, fields: impl Serialize) -> Self {
        Self::success(StatusCode::CREATED, message, fields)
    }

    /// Returns a 200 with a message only.
    pub fn done(message: &str) -> Self {
        Self::ok(message, Empty {})
    }

    /// Returns a 200 with a page. The page may use this style and nothing else: no script, no picture, no form.
    pub fn page(html: String, style: &str) -> Self {
        let digest = STANDARD.encode(digest(&SHA256, style.as_bytes()));
        Self::html(html, &format!("style-src 'sha256-{digest}'"))
    }

    /// Returns a 200 with a page. The page may use scripts and styles of this API's own [files](Self::file) and pictures
    /// within these, and may call this API.
    pub fn page_of_files(html: &'static str) -> Self {
        let policy = "script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'";
        Self::html(html, policy)
    }

    fn html(html: impl Into<Bytes>, further_policy: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        // Base64 and constants are always valid header values.
        if let Ok(policy) = format!("{CONTENT_POLICY}; {further_policy}").try_into() {
            headers.insert(CONTENT_SECURITY_POLICY, policy);
        }
        Self {
            status: StatusCode::OK,
            body: html.into(),
            headers,
        }
    }

    /// Returns a 200 with a file of a page, which browsers may cache for an hour.
    pub fn file(content_type: &'static str, content: &'static [u8]) -> Self {
        let headers = [
            (CACHE_CONTROL, "public, max-age=3600"),
            (CONTENT_TYPE, content_type),
        ];
        let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
        Self {
            status: StatusCode::OK,
            body: Bytes::from_static(content),
            headers: HeaderMap::from_iter(headers),
        }
    }

    /// Returns a 200 with a file that is compressed with gzip (RFC 1952), whether the client asks for it or not: all
    /// browsers do.
    pub fn gzipped_file(content_type: &'static str, content: &'static [u8]) -> Self {
        let mut response = Self::file(content_type, content);
        let gzip = HeaderValue::from_static("gzip");
        response.headers.insert(CONTENT_ENCODING, gzip);
        response
    }

    /// Returns a 200 with a document in the form of its own standard.
    pub fn document(document: impl Serialize) -> Self {
        Self {
            status: StatusCode::OK,
            body: json(&document).into(),
            headers: HeaderMap::new(),
        }
    }

    /// Returns a 200 with a document that is the same for everybody, and that anybody may cache for five minutes. Its form
    /// is that of its own standard.
    pub fn public_document(document: impl Serialize) -> Self {
        let headers = [
            (CACHE_CONTROL, "public, max-age=300"),
            (CROSS_ORIGIN_RESOURCE_POLICY, "cross-origin"),
        ];
        let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
        Self {
            headers: HeaderMap::from_iter(headers),
            ..Self::document(document)
        }
    }

    /// Returns a 302 to another page.
    ///
    /// # Errors
    /// `internal_error` if the URL is not a valid header value.
    pub fn found(url: &str) -> Result<Self, ApiError> {
        Self::redirect(StatusCode::FOUND, url)
    }

    /// Returns a 303 to another page, which the browser gets without the body of its request (RFC 9700, 4.12).
    ///
    /// # Errors
    /// `internal_error` if the URL is not a valid header value.
    pub fn see_other(url: &str) -> Result<Self, ApiError> {
        Self::redirect(StatusCode::SEE_OTHER, url)
    }

    fn redirect(status: StatusCode, url: &str) -> Result<Self, ApiError> {
        let location = HeaderValue::try_from(url);
        let location = location.map_err(|error| ApiError::Internal(error.into()))?;
        let message = "The header Location says where the page is.";
        let mut response = Self::success(status, message, Empty {});
        response.headers.insert(LOCATION, location);
        Ok(response)
    }

    fn success(status: StatusCode, message: &str, fields: impl Serialize) -> Self {
        Self {
            status,
            body: json(&Success {
                success: true,
                message: message.to_owned(),
                fields,
            })
            .into(),
            headers: HeaderMap::new(),
        }
    }

    /// Adds cookies.
    pub fn with_cookies(mut self, cookies: Vec<String>) -> Self {
        for cookie in cookies {
            // Tokens, numbers and constants are always valid header values.
            if let Ok(cookie) = cookie.try_into() {
                self.headers.append(SET_COOKIE, cookie);
            }
        }
        self
    }

    /// Adds the header `Allow` with the methods of the path.
    pub fn with_allow(mut self, methods: &'static str) -> Self {
        let methods = HeaderValue::from_static(methods);
        self.headers.insert(ALLOW, methods);
        self
    }

    pub(crate) fn into_answer(self) -> Answer {
        let mut answer = render(self.status, self.body, Outcome("ok"));
        *answer.headers_mut() = self.headers;
        answer
    }
}

/// Returns the answer to a failed request.
pub(crate) fn failure(error: &ApiError, request_id: &str) -> Answer {
    let details = match error {
        ApiError::ValidationFailed(details) => Some(details.clone()),
        _ => None,
    };
    let retry_after = error.retry_after_seconds();
    let body = Failure {
        success: false,
        error: error.code(),
        message: error.message(),
        docs: error.docs(),
        request_id: request_id.to_owned(),
        details,
        retry_after,
        limit: error.quota().map(|quota| quota.policy.name.clone()),
    };
    let mut answer = render(error.status(), json(&body).into(), Outcome(error.code()));
    let headers = answer.headers_mut();
    if let Some(challenge) = error.challenge() {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if let Some(methods) = error.allowed_methods() {
        headers.insert(ALLOW, HeaderValue::from_static(methods));
    }
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if let Some(quota) = error.quota() {
        set_rate_limit(headers, quota);
    }
    if let Some(variable) = error.limit_variable() {
        answer.extensions_mut().insert(LimitedBy(variable));
    }
    answer
}

fn render(status: StatusCode, body: Bytes, outcome: Outcome) -> Answer {
    let mut answer = Answer::new(Full::new(body));
    *answer.status_mut() = status;
    answer.extensions_mut().insert(outcome);
    answer
}

/// Adds the fields `RateLimit-Policy` and `RateLimit` (IETF draft "RateLimit header fields for HTTP"), unless they are
/// set already.
pub(crate) fn set_rate_limit(headers: &mut HeaderMap, quota: &Quota) {
    for (name, value) in [
        (RATE_LIMIT_POLICY, quota.policy.to_string()),
        (RATE_LIMIT, quota.header()),
    ] {
        // Names and numbers are always valid header values.
        if let Ok(value) = value.try_into() {
            headers.entry(name).or_insert(value);
        }
    }
}

#[expect(clippy::expect_used, reason = "plain structs are what is written here")]
fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("plain data")
}
