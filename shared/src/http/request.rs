//! A request as a handler sees it.

use http::{HeaderMap, Method};
use lambda_http::RequestExt;
use lambda_http::request::RequestContext;

use super::body::Fields;
use crate::domain::timestamp::Timestamp;
use crate::error::ApiError;
use crate::store::audit::Origin;

/// Longer ones are cut where they are stored.
const LONGEST_USER_AGENT: usize = 256;

/// A request, and where it came from.
pub struct Request {
    method: Method,
    path: String,
    pub(super) route: String,
    headers: HeaderMap,
    body: Vec<u8>,
    origin: Origin,
}

impl Request {
    pub(super) fn new(event: lambda_http::Request) -> Self {
        let (ip, request_id, route) = match event.request_context_ref() {
            Some(RequestContext::ApiGatewayV2(context)) => (
                // The gateway's own word; headers such as X-Forwarded-For are the client's.
                context.http.source_ip.clone().unwrap_or_default(),
                context.request_id.clone().unwrap_or_default(),
                context.route_key.clone().unwrap_or_default(),
            ),
            _ => Default::default(),
        };
        let (parts, body) = event.into_parts();
        let user_agent = parts.headers.get(http::header::USER_AGENT);
        let user_agent = user_agent
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .unwrap_or_default();
        let origin = Origin {
            ip,
            user_agent: user_agent
                .chars()
                .filter(|c| !c.is_control())
                .take(LONGEST_USER_AGENT)
                .collect(),
            request_id,
            at: Timestamp::now(),
        };
        Self {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            route,
            headers: parts.headers,
            body: body.to_vec(),
            origin,
        }
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A header's value, where it is text.
    pub fn header(&self, name: http::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether the header was sent, readable or not.
    pub(super) fn has_header(&self, name: http::HeaderName) -> bool {
        self.headers.contains_key(name)
    }

    /// Where the request came from, and when.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// When the request was received.
    pub fn received_at(&self) -> Timestamp {
        self.origin.at
    }

    /// The bytes of the body.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Parses the body: `read` takes the fields it knows, and all that is wrong is reported at once.
    ///
    /// # Errors
    /// 413, 415, `malformed_json` or `validation_failed`.
    pub fn parse<T>(&self, read: impl FnOnce(&mut Fields) -> Option<T>) -> Result<T, ApiError> {
        Fields::of(self)?.parse(read)
    }

    /// The same where the body may be left out, with all fields absent then.
    ///
    /// # Errors
    /// As [`Request::parse`].
    pub fn parse_optional<T>(
        &self,
        read: impl FnOnce(&mut Fields) -> Option<T>,
    ) -> Result<T, ApiError> {
        if self.body.is_empty() {
            Fields::none().parse(read)
        } else {
            self.parse(read)
        }
    }
}
