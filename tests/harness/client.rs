//! A client that checks every answer against the API's contract, whatever the test is about.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::Index;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::redirect::Policy;
use reqwest::{Method, Request, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::authenticator::Authenticator;
use crate::observed::Observed;
use crate::{operations, shapes};

const HEADERS: [(&str, &str); 8] = [
    ("content-type", "application/json; charset=utf-8"),
    ("cache-control", "no-store"),
    (
        "strict-transport-security",
        "max-age=63072000; includeSubDomains",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// How often a patient client sends a request.
const MAX_TRIES: usize = 30;

/// The other headers that an answer may have, including the gateway's.
const OTHER_HEADERS: [&str; 13] = [
    "location",
    "allow",
    "x-request-id",
    "content-length",
    "date",
    "www-authenticate",
    "retry-after",
    "connection",
    "apigw-requestid",
    "vary",
    "ratelimit",
    "ratelimit-policy",
    "set-cookie",
];

/// The codes of broken rules, with the names of their parameters: a closed list (docs/api.md, "What a field can
/// break").
const DETAIL_CODES: [(&str, &[&str]); 29] = [
    ("common_password", &[]),
    ("contains_link", &[]),
    ("control_characters", &[]),
    ("exactly_one", &[]),
    ("invalid_address", &[]),
    ("invalid_characters", &[]),
    ("invalid_code", &[]),
    ("invalid_email", &[]),
    ("invalid_grant", &[]),
    ("invalid_passkey", &[]),
    ("invalid_provider", &[]),
    ("invalid_token", &[]),
    ("invalid_url", &[]),
    ("invalid_value", &[]),
    ("invisible_characters", &[]),
    ("leaked_password", &[]),
    ("missing_digit", &[]),
    ("missing_lower_case", &[]),
    ("missing_symbol", &[]),
    ("missing_upper_case", &[]),
    ("must_differ", &["from"]),
    ("passkey_taken", &[]),
    ("required", &[]),
    ("reserved", &[]),
    ("too_long", &["max"]),
    ("too_many", &["max"]),
    ("too_short", &["min"]),
    ("unknown_field", &[]),
    ("wrong_type", &["expected"]),
];

/// The error codes of each status: the closed list of `api.md`.
const CODES: [(u16, &[&str]); 11] = [
    (
        400,
        &[
            "validation_failed",
            "malformed_json",
            "invalid_reset_token",
            "invalid_verification_token",
            "two_factor_not_enabled",
            "invalid_request",
        ],
    ),
    (
        401,
        &[
            "invalid_client",
            "missing_token",
            "invalid_token",
            "token_expired",
            "token_revoked",
            "invalid_credentials",
            "two_factor_invalid",
            "code_invalid",
            "passkey_invalid",
            "oauth_grant_invalid",
            "refresh_token_invalid",
            "refresh_token_expired",
            "refresh_token_reused",
        ],
    ),
    (
        403,
        &[
            "two_factor_required",
            "email_not_verified",
            "account_disabled",
            "forbidden",
            "bot_detected",
            "csrf_failed",
            "origin_not_allowed",
            "reauthentication_required",
            "confirmation_required",
            "password_reset_required",
            "oauth_email_unverified",
            // For a signed-in user, who stays signed in.
            "invalid_credentials",
            "two_factor_invalid",
        ],
    ),
    (404, &["not_found"]),
    (405, &["method_not_allowed"]),
    (
        409,
        &[
            "email_taken",
            "username_taken",
            "two_factor_already_enabled",
            "identity_taken",
            "provider_already_linked",
            "last_sign_in_method",
        ],
    ),
    (413, &["payload_too_large"]),
    (415, &["unsupported_media_type"]),
    (429, &["rate_limited", "account_locked"]),
    (500, &["internal_error"]),
    (503, &["service_unavailable"]),
];

/// Makes requests to the API from one address.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    observed: Observed,
    is_patient: bool,
}

impl Client {
    /// Returns the same client, which repeats a request that a busy machine did not answer in time: a 503 after more
    /// than a second. A faster 503 reports a fault, and is returned.
    pub fn patient(self) -> Self {
        Self {
            is_patient: true,
            ..self
        }
    }

    /// Returns the same client for another server.
    pub fn at(self, url: &str) -> Self {
        let url = url.to_owned();
        Self { url, ..self }
    }
}

/// A registered user with the tokens of a session.
#[derive(Clone, Debug)]
pub struct Account {
    pub id: String,
    pub email: String,
    pub username: String,
    pub password: String,
    pub access: String,
    pub refresh: String,
}

/// An answer that has passed the checks of the contract.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    /// A patient client repeated the request. What came of the first try is not known.
    pub was_repeated: bool,
}

impl Client {
    pub(crate) fn new(url: &str, address: Ipv4Addr, observed: Observed) -> Self {
        let mut builder = reqwest::Client::builder().redirect(Policy::none());
        if url.starts_with("http://127.") && cfg!(target_os = "linux") {
            builder = builder.local_address(std::net::IpAddr::from(address));
        }
        Self {
            http: builder.build().unwrap(),
            url: url.to_owned(),
            observed,
            is_patient: false,
        }
    }

    /// Builds a request, to be sent with [`Client::send`].
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// Sends a request and checks the answer. Remembers the secrets in both, which must not be logged.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let request = request.build().expect("a request");
        self.remember(request.body().and_then(|body| body.as_bytes()));
        let route = operations::route(request.method(), request.url().path());
        let (response, was_repeated) = self.execute(request).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.expect("a body");
        let body: Value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: no JSON: {text}"));
        let answer = Answer {
            status,
            headers,
            body,
            was_repeated,
        };
        answer.check();
        if let Some(route) = route.filter(|_| !answer.status.is_redirection()) {
            shapes::check(route, answer.status.as_u16(), &answer.body);
        }
        answer
            .header("x-request-id")
            .inspect(|id| self.observed.answered(id));
        for cookie in answer.cookies() {
            let value = cookie.split(['=', ';']).nth(1).unwrap_or_default();
            if !value.is_empty() {
                self.observed.secret(value);
            }
        }
        let codes = answer.body["backupCodes"].as_array().into_iter().flatten();
        codes
            .filter_map(Value::as_str)
            .for_each(|code| self.observed.secret(code));
        for token in [
            "accessToken",
            "refreshToken",
            "csrfToken",
            "deviceToken",
            "secret",
            "otpauthUrl",
            "requestToken",
        ] {
            answer.body[token]
                .as_str()
                .inspect(|token| self.observed.secret(token));
        }
        answer
    }

    /// Executes a request, again where the client is patient; says whether it did so.
    async fn execute(&self, request: Request) -> (Response, bool) {
        for tries in 1.. {
            let copy = request.try_clone().expect("a request in memory");
            let started = Instant::now();
            let response = self.http.execute(copy).await.expect("an answer");
            let is_late = response.status() == StatusCode::SERVICE_UNAVAILABLE
                && started.elapsed() > Duration::from_secs(1);
            if !(self.is_patient && is_late && tries < MAX_TRIES) {
                return (response, tries > 1);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        unreachable!("the last try is returned")
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.with_body(Method::POST, path, &body)).await
    }

    pub async fn post_as(&self, access: &str, path: &str, body: Value) -> Answer {
        self.send(
            self.with_body(Method::POST, path, &body)
                .bearer_auth(access),
        )
        .await
    }

    pub async fn put_as(&self, access: &str, path: &str, body: Value) -> Answer {
        self.send(self.with_body(Method::PUT, path, &body).bearer_auth(access))
            .await
    }

    pub async fn delete_as(&self, access: &str, path: &str, body: Value) -> Answer {
        self.send(
            self.with_body(Method::DELETE, path, &body)
                .bearer_auth(access),
        )
        .await
    }

    pub async fn get_as(&self, access: &str, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).bearer_auth(access))
            .await
    }

    fn with_body(&self, method: Method, path: &str, body: &Value) -> RequestBuilder {
        self.request(method, path).json(body)
    }

    fn remember(&self, body: Option<&[u8]>) {
        let body: Value = serde_json::from_slice(body.unwrap_or_default()).unwrap_or_default();
        for field in [
            "email",
            "identifier",
            "password",
            "newPassword",
            "currentPassword",
            "token",
            "twoFactorToken",
            "grant",
            "requestToken",
        ] {
            // Shorter texts occur in any log by chance.
            let text = body[field].as_str().map(str::trim);
            let text = text.filter(|text| text.len() > 5);
            // So do six digits, but not as a whole JSON string.
            let is_code = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            text.inspect(|text| match is_code(text) {
                true => self.observed.secret(&format!("\"{text}\"")),
                false => self.observed.secret(text),
            });
        }
    }

    /// Registers a new user.
    pub async fn register(&self) -> Account {
        let (email, username, password) = (unique_email(), unique_username(), unique_password());
        let body = json!({ "email": email, "username": username, "password": password });
        let answer = self.post("/api/auth/register", body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        Account {
            id: text(&answer["user"]["id"]),
            email,
            username,
            password,
            access: text(&answer["accessToken"]),
            refresh: text(&answer["refreshToken"]),
        }
    }

    /// Proves the account's address.
    pub async fn verify_email(&self, account: &Account, token: &str) {
        let body = json!({ "token": token });
        let answer = self
            .post_as(&account.access, "/api/auth/verify-email", body)
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Turns the second factor on; returns the app and the backup codes.
    pub async fn enrol(&self, account: &Account) -> (Authenticator, Vec<String>) {
        let setup = self
            .post_as(&account.access, "/api/auth/2fa/setup", json!({}))
            .await;
        assert_eq!(setup.status, 200, "{setup:?}");
        let mut app = Authenticator::scan(&setup);
        let body = json!({ "token": app.next().await });
        let answer = self
            .post_as(&account.access, "/api/auth/2fa/verify", body)
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let codes = answer["backupCodes"].as_array().expect("codes");
        let codes = codes.iter().map(|code| code.as_str().unwrap().to_owned());
        (app, codes.collect())
    }

    /// Signs in with the address; returns the access token and the refresh token.
    pub async fn login(&self, account: &Account) -> (String, String) {
        let body = json!({ "email": account.email, "password": account.password });
        let answer = self.post("/api/auth/login", body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        (answer.text("accessToken"), answer.text("refreshToken"))
    }

    /// Tries to sign in with an address.
    pub async fn try_login(&self, email: &str, password: &str) -> Answer {
        let body = json!({ "email": email, "password": password });
        self.post("/api/auth/login", body).await
    }

    /// Requests a link to set a new password.
    pub async fn request_reset(&self, email: &str) -> Answer {
        let body = json!({ "email": email });
        self.post("/api/auth/password-reset/request", body).await
    }

    /// Requests another link to prove the address.
    pub async fn resend_verification(&self, email: &str) -> Answer {
        let body = json!({ "email": email });
        self.post("/api/auth/verify-email/resend", body).await
    }

    pub async fn change_password(&self, access: &str, body: Value) -> Answer {
        self.post_as(access, "/api/auth/change-password", body)
            .await
    }

    pub async fn set_up_two_factor(&self, access: &str, body: Value) -> Answer {
        self.post_as(access, "/api/auth/2fa/setup", body).await
    }

    pub async fn verify_two_factor(&self, access: &str, body: Value) -> Answer {
        self.post_as(access, "/api/auth/2fa/verify", body).await
    }

    pub async fn disable_two_factor(&self, access: &str, body: Value) -> Answer {
        self.post_as(access, "/api/auth/2fa/disable", body).await
    }

    /// Follows the link that turns the second factor off again.
    pub async fn undo_two_factor(&self, token: &str) -> Answer {
        self.post("/api/auth/2fa/undo", json!({ "token": token }))
            .await
    }

    pub async fn update_profile(&self, access: &str, changes: Value) -> Answer {
        self.put_as(access, "/api/auth/profile", changes).await
    }

    pub async fn delete_account(&self, access: &str, password: &str) -> Answer {
        let body = json!({ "password": password });
        self.delete_as(access, "/api/auth/profile", body).await
    }

    pub async fn sessions(&self, access: &str) -> Answer {
        self.get_as(access, "/api/auth/sessions").await
    }

    pub async fn logout_everywhere(&self, access: &str) -> Answer {
        let body = json!({ "allDevices": true });
        self.post_as(access, "/api/auth/logout", body).await
    }

    pub async fn refresh(&self, refresh: &str) -> Answer {
        self.post("/api/auth/refresh", json!({ "refreshToken": refresh }))
            .await
    }

    pub async fn profile(&self, access: &str) -> Answer {
        self.get_as(access, "/api/auth/profile").await
    }

    pub async fn logout(&self, access: &str) -> Answer {
        self.send(
            self.request(Method::POST, "/api/auth/logout")
                .bearer_auth(access),
        )
        .await
    }
}

impl Answer {
    /// Returns the error's code; empty on success.
    pub fn code(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }

    /// Returns a string field.
    pub fn text(&self, field: &str) -> String {
        self.body[field]
            .as_str()
            .unwrap_or_else(|| panic!("no {field} in {}", self.body))
            .to_owned()
    }

    /// Returns the body without the value that the client keeps, which differs in each answer. It must be there.
    pub fn body_without_request_token(&self) -> Value {
        let mut body = self.body.clone();
        let removed = body
            .as_object_mut()
            .expect("an object")
            .remove("requestToken");
        assert_eq!(
            removed.as_ref().and_then(Value::as_str).map(str::len),
            Some(64)
        );
        body
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("text"))
    }

    /// Returns the answer's `Set-Cookie` headers.
    pub fn cookies(&self) -> Vec<String> {
        let values = self.headers.get_all("set-cookie").into_iter();
        values
            .map(|value| value.to_str().expect("text").to_owned())
            .collect()
    }

    /// Returns the value of a cookie that the answer sets.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies().iter().find_map(|cookie| {
            let (key, rest) = cookie.split_once('=')?;
            (key == name).then(|| rest.split(';').next().unwrap_or_default().to_owned())
        })
    }

    /// Returns the policy, the remaining requests and the seconds of the `RateLimit` header.
    pub fn rate_limit(&self) -> Option<(String, u64, u64)> {
        let mut parts = self.header("ratelimit")?.split(';');
        let name = parts.next()?.trim_matches('"').to_owned();
        let left = parts.next()?.strip_prefix("r=")?.parse().ok()?;
        Some((name, left, parts.next()?.strip_prefix("t=")?.parse().ok()?))
    }

    /// Returns the fields that `details` names, each once.
    pub fn fields(&self) -> BTreeSet<&str> {
        let details = self.body["details"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        details
            .iter()
            .map(|detail| detail["field"].as_str().expect("a field"))
            .collect()
    }

    /// Returns whether `details` names exactly these fields, which must be in alphabetical order.
    pub fn names(&self, fields: &[&str]) -> bool {
        self.code() == "validation_failed" && self.fields().into_iter().eq(fields.iter().copied())
    }

    /// Returns the messages of `details` about a field.
    pub fn messages(&self, field: &str) -> Vec<&str> {
        let details = self.body["details"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let of_field = details.iter().filter(|detail| detail["field"] == field);
        of_field
            .map(|detail| detail["message"].as_str().expect("a message"))
            .collect()
    }

    fn is_success(&self) -> bool {
        self.status.is_success() || self.status.is_redirection()
    }

    fn check(&self) {
        for (name, value) in HEADERS {
            assert_eq!(self.header(name), Some(value), "{name} of {self:?}");
        }
        let is_known = |name: &str| {
            HEADERS.iter().any(|(known, _)| *known == name)
                || OTHER_HEADERS.contains(&name)
                || name.starts_with("access-control-")
        };
        for name in self.headers.keys() {
            assert!(is_known(name.as_str()), "the header {name} of {self:?}");
        }
        assert!(
            self.header("x-request-id").is_some_and(|id| !id.is_empty()),
            "{self:?}"
        );
        assert!(
            self.body["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty()),
            "{self:?}"
        );
        let policy = self.header("ratelimit-policy");
        assert_eq!(policy.is_some(), self.rate_limit().is_some(), "{self:?}");
        if let Some((name, left, seconds)) = self.rate_limit() {
            assert!(
                policy.unwrap().starts_with(&format!("\"{name}\";q=")),
                "{self:?}"
            );
            let is_refused = self.status.as_u16() == 429;
            assert!(!is_refused || left == 0, "{self:?}");
            assert!(
                !is_refused || self.body["retryAfter"] == seconds,
                "{self:?}"
            );
        } else {
            assert_ne!(self.status.as_u16(), 429, "{self:?}");
        }
        let is_elsewhere = self.status.is_redirection();
        assert_eq!(self.header("location").is_some(), is_elsewhere, "{self:?}");
        if self.is_success() {
            assert_eq!(self.body["success"], true, "{self:?}");
        } else {
            self.check_failure();
        }
    }

    fn check_failure(&self) {
        let (status, code) = (self.status.as_u16(), self.code());
        assert_eq!(self.body["success"], false, "{self:?}");
        assert!(
            CODES
                .iter()
                .any(|(s, codes)| *s == status && codes.contains(&code)),
            "{self:?}"
        );
        assert_eq!(
            self.body["requestId"].as_str(),
            self.header("x-request-id"),
            "{self:?}"
        );
        let docs = format!("/errors/{code}");
        assert_eq!(self.body["docs"], docs, "{self:?}");
        assert_eq!(
            self.body.get("details").is_some(),
            code == "validation_failed",
            "{self:?}"
        );
        for detail in self.body["details"].as_array().into_iter().flatten() {
            check_detail(detail);
        }
        let must_wait = matches!(status, 429 | 503);
        assert_eq!(self.body.get("retryAfter").is_some(), must_wait, "{self:?}");
        let limit = self.rate_limit().filter(|_| status == 429);
        assert_eq!(
            self.body["limit"].as_str(),
            limit.as_ref().map(|(name, ..)| name.as_str()),
            "{self:?}"
        );
        let retry_after = self
            .header("retry-after")
            .map(|seconds| seconds.parse().expect("seconds"));
        assert_eq!(self.body["retryAfter"].as_u64(), retry_after, "{self:?}");
        assert_eq!(self.header("allow").is_some(), status == 405, "{self:?}");
        let challenge = self.header("www-authenticate").map(str::to_owned);
        let expected = match code {
            _ if status != 401 => None,
            "missing_token" | "invalid_credentials" | "two_factor_invalid" => {
                Some("Bearer".to_owned())
            }
            "invalid_client" => Some(r#"Basic realm="gatehouse", charset="UTF-8""#.to_owned()),
            _ => Some(r#"Bearer error="invalid_token""#.to_owned()),
        };
        assert_eq!(challenge, expected, "{self:?}");
        // security.md 37: no stack trace, path, ARN, table name or key name.
        let text = self.body.to_string();
        for inside in [
            "arn:",
            "Table",
            "dynamodb",
            "redis",
            ".rs",
            "panicked",
            "USER#",
            "127.0.0.1",
        ] {
            assert!(
                !text.to_lowercase().contains(&inside.to_lowercase()),
                "{inside} in {text}"
            );
        }
    }
}

/// Checks an entry of `details`: a field, a stable code with its parameters, and a message.
fn check_detail(detail: &Value) {
    let (code, params) = (detail["code"].as_str(), detail["params"].as_object());
    let known = DETAIL_CODES.iter().find(|(known, _)| Some(*known) == code);
    let (_, expected) = known.unwrap_or_else(|| panic!("an unknown code: {detail}"));
    let names = params.map(|params| params.keys().map(String::as_str).collect());
    assert_eq!(names.unwrap_or(Vec::new()), *expected, "{detail}");
    for name in ["field", "message"] {
        assert!(
            detail[name].as_str().is_some_and(|text| !text.is_empty()),
            "{detail}"
        );
    }
    let members = if params.is_some() { 4 } else { 3 };
    assert_eq!(
        detail.as_object().map(|detail| detail.len()),
        Some(members),
        "{detail}"
    );
}

impl Index<&str> for Answer {
    type Output = Value;

    fn index(&self, field: &str) -> &Value {
        &self.body[field]
    }
}

/// Adds a body that is not JSON, or not declared as JSON, to a request.
pub fn with_content_type(
    request: RequestBuilder,
    content_type: &str,
    body: impl Into<reqwest::Body>,
) -> RequestBuilder {
    request.header(CONTENT_TYPE, content_type).body(body)
}

/// Returns a text that was not used before, so that tests can share a deployment.
pub fn unique(prefix: &str) -> String {
    let mut bytes = [0; 6];
    aws_lc_rs::rand::fill(&mut bytes).expect("randomness");
    format!("{prefix}{}", hex::encode(bytes))
}

pub fn unique_email() -> String {
    format!("{}@example.com", unique("Ada."))
}

pub fn unique_username() -> String {
    unique("Ada_")
}

pub fn unique_password() -> String {
    unique("Correct-7-horse-")
}
