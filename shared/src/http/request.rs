//! Requests.

use http::header::{ACCEPT_LANGUAGE, CONTENT_TYPE, COOKIE, HeaderName, ORIGIN, USER_AGENT};
use http::{HeaderValue, Method};
use lambda_http::RequestExt;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use validator::{Validate, ValidationErrors};

use super::body::{self, Body};
use super::gateway;
use crate::clock;
use crate::domain::client_address::ClientAddress;
use crate::domain::client_info::ClientInfo;
use crate::domain::language::Language;
use crate::domain::timestamp::Timestamp;
use crate::error::ApiError;

/// The maximum length of a stored user agent, in characters.
const MAX_USER_AGENT: usize = 256;
/// The maximum length of a stored origin, in characters.
const MAX_ORIGIN: usize = 256;

/// A request and its client.
pub struct Request {
    http: lambda_http::Request,
    client: ClientInfo,
}

impl Request {
    /// Creates a request; `None` for an event that is not a request to an HTTP API.
    pub(crate) fn new(http: lambda_http::Request) -> Option<Self> {
        let context = gateway::context(&http)?;
        let header = |name| http.headers().get(name).map(HeaderValue::as_bytes);
        let user_agent = header(USER_AGENT).unwrap_or_default();
        let language = header(ACCEPT_LANGUAGE).unwrap_or_default();
        let origin = header(ORIGIN).filter(|origin| origin.len() <= MAX_ORIGIN);
        let client = ClientInfo {
            ip: context.http.source_ip.clone().unwrap_or_default(),
            user_agent: sanitized(&String::from_utf8_lossy(user_agent)),
            language: Language::accepted(str::from_utf8(language).unwrap_or_default()),
            origin: origin.and_then(|origin| String::from_utf8(origin.to_vec()).ok()),
            request_id: context.request_id.clone().unwrap_or_default(),
            received_at: clock::now(),
        };
        Some(Self { http, client })
    }

    /// Replaces the client's address, which is API Gateway's peer by default.
    pub(crate) fn with_address(mut self, address: ClientAddress) -> Self {
        self.client.ip = address.to_string();
        self
    }

    /// Returns the client, with the time at which the request was received.
    pub fn client(&self) -> &ClientInfo {
        &self.client
    }

    /// Returns the time at which the request was received.
    pub fn received_at(&self) -> Timestamp {
        self.client.received_at
    }

    /// Returns the method.
    pub fn method(&self) -> &Method {
        self.http.method()
    }

    /// Returns whether the gateway matched this route: a method and a path.
    pub fn is_to(&self, route: &str) -> bool {
        let context = gateway::context(&self.http);
        context.is_some_and(|context| context.route_key.as_deref() == Some(route))
    }

    /// Returns the path as the client wrote it.
    pub fn path(&self) -> &str {
        let context = gateway::context(&self.http);
        let path = context.and_then(|context| context.http.path.as_deref());
        path.unwrap_or_default()
    }

    /// Returns a header's value; several values of one name are joined by commas.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        let value = self.http.headers().get(name)?;
        str::from_utf8(value.as_bytes()).ok()
    }

    /// Returns a cookie's value; the first, if there are several of one name.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        // The crate `cookie` is not used: it also trims Unicode white space from a name, and so takes
        // `\u{2000}__Host-x`, which a browser lets a sibling domain set, for `__Host-x`.
        let pairs = self.header(&COOKIE)?.split(';');
        let mut pairs = pairs.filter_map(|pair| pair.trim_matches([' ', '\t']).split_once('='));
        let (_, value) = pairs.find(|(named, _)| *named == name)?;
        Some(value)
    }

    /// Returns a path parameter of the route.
    pub fn path_parameter(&self, name: &str) -> Option<&str> {
        self.http.path_parameters_ref()?.first(name)
    }

    /// Returns a parameter of the query, decoded; `None` if it is not there exactly once.
    pub fn query_parameter(&self, name: &str) -> Option<&str> {
        let values = self.http.query_string_parameters_ref()?.all(name)?;
        match values.as_slice() {
            [value] => Some(value),
            _ => None,
        }
    }

    /// Parses and validates the body.
    ///
    /// # Errors
    /// `payload_too_large`, `unsupported_media_type`, `malformed_json` or `validation_failed`.
    pub fn json<T: DeserializeOwned + Validate>(&self) -> Result<T, ApiError> {
        self.json_with(|_| Ok(()))
    }

    /// Parses the body and validates it, also by the rules of `more`.
    ///
    /// # Errors
    /// As [`Request::json`].
    pub fn json_with<T: DeserializeOwned + Validate>(
        &self,
        more: impl FnOnce(&T) -> Result<(), ValidationErrors>,
    ) -> Result<T, ApiError> {
        self.body()?.validate(more)
    }

    /// Parses and validates a body that may be left out; all fields are absent then.
    ///
    /// # Errors
    /// As [`Request::json`].
    pub fn optional_json<T: DeserializeOwned + Validate>(&self) -> Result<T, ApiError> {
        self.optional_body()?.validate(|_| Ok(()))
    }

    /// Returns a parameter of a form.
    ///
    /// # Errors
    /// `payload_too_large`, and `invalid_request` if the body is no form, or the parameter is not there exactly once.
    pub fn form_parameter(&self, name: &str) -> Result<SecretString, ApiError> {
        let value = body::form_parameter(self.http.body(), self.header(&CONTENT_TYPE), name)?;
        value.ok_or(ApiError::InvalidRequest)
    }

    /// Returns whether the request has no body.
    pub(crate) fn has_no_body(&self) -> bool {
        self.http.body().is_empty()
    }

    fn body<T: DeserializeOwned + Validate>(&self) -> Result<Body<T>, ApiError> {
        Body::parse(self.http.body(), self.header(&CONTENT_TYPE))
    }

    /// Parses a body that may be left out, without validating it.
    pub(crate) fn optional_body<T: DeserializeOwned + Validate>(
        &self,
    ) -> Result<Body<T>, ApiError> {
        match body::is_absent(self.http.body()) {
            true => Body::absent(),
            false => self.body(),
        }
    }
}

/// Returns the stored form of a user agent.
fn sanitized(user_agent: &str) -> String {
    let mut sanitized = user_agent.to_owned();
    sanitized.retain(|c| !c.is_control());
    if let Some((end, _)) = sanitized.char_indices().nth(MAX_USER_AGENT) {
        sanitized.truncate(end);
    }
    sanitized
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_name_is_stored_without_control_characters_and_not_endless() {
        assert_eq!(sanitized("Train/2.0\t\u{85}x"), "Train/2.0x");
        assert_eq!(sanitized(&"é".repeat(256)), "é".repeat(256));
        assert_eq!(
            sanitized(&format!("\n{}x", "é".repeat(256))),
            "é".repeat(256)
        );
    }
}
