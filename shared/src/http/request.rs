//! A request as a handler sees it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http::header::{ACCEPT_LANGUAGE, HeaderName};

use super::body::Fields;
use super::event::Event;
use super::guard::Tally;
use crate::clock;
use crate::domain::client_address::ClientAddress;
use crate::domain::language::Language;
use crate::domain::timestamp::Timestamp;
use crate::domain::token::{AccessClaims, RefreshClaims, TokenError};
use crate::error::ApiError;
use crate::store::audit::Origin;

/// Longer ones are cut where they are stored.
const LONGEST_USER_AGENT: usize = 256;

/// A request, and where it came from.
pub struct Request {
    event: Event,
    method: Method,
    body: Vec<u8>,
    origin: Origin,
    client: Option<ClientAddress>,
    access_token: Option<Result<AccessClaims, TokenError>>,
    refresh_token: Option<Result<RefreshClaims, TokenError>>,
    tally: Tally,
}

impl Request {
    pub(super) fn new(mut event: Event) -> Self {
        // The gateway has done so; whoever writes an event by hand may not have.
        if event.headers.keys().any(|name| has_capitals(name)) {
            let headers = std::mem::take(&mut event.headers).into_iter();
            event.headers = headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value))
                .collect();
        }
        let context = &event.request_context;
        let text = event.body.as_deref().unwrap_or_default();
        let body = match event.is_base64_encoded {
            // What is no base64 is no JSON either, and is refused as such.
            true => STANDARD.decode(text).unwrap_or_else(|_| text.into()),
            false => text.into(),
        };
        let user_agent = event.headers.get("user-agent");
        let user_agent = user_agent.map(String::as_str).unwrap_or_default();
        let origin = Origin {
            ip: context.http.source_ip.clone(),
            user_agent: recorded(user_agent),
            request_id: context.request_id.clone(),
            at: clock::now(),
        };
        Self {
            method: context.http.method.parse().unwrap_or_default(),
            event,
            body,
            origin,
            client: None,
            access_token: None,
            refresh_token: None,
            tally: Tally::default(),
        }
    }

    /// The address that the gateway was asked from.
    pub(super) fn source_ip(&self) -> &str {
        &self.event.request_context.http.source_ip
    }

    /// Whose request it is, now that it is known.
    pub(super) fn set_client(&mut self, client: ClientAddress) {
        self.origin.ip = client.to_string();
        self.client = Some(client);
    }

    /// The client, once the guard knows it.
    pub(super) fn client(&self) -> Option<ClientAddress> {
        self.client
    }

    /// Keeps what the access token turned out to be.
    pub(super) fn set_access_token(&mut self, token: Option<Result<AccessClaims, TokenError>>) {
        self.access_token = token;
    }

    /// What the access token turned out to be; nothing where there is none, or where none is taken.
    pub(super) fn access_token(&self) -> Option<&Result<AccessClaims, TokenError>> {
        self.access_token.as_ref()
    }

    /// Keeps what the refresh token turned out to be.
    pub(super) fn set_refresh_token(&mut self, token: Option<Result<RefreshClaims, TokenError>>) {
        self.refresh_token = token;
    }

    /// What the refresh token turned out to be, be it in the body or in a cookie; nothing where there is
    /// none, or where none is taken.
    pub fn refresh_token(&self) -> Option<&Result<RefreshClaims, TokenError>> {
        self.refresh_token.as_ref()
    }

    /// What the request is counted under.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Counts the request under its limits, if it was not counted yet. Where a token is taken, a handler
    /// waits for this and for what it asks the stores first at once; a refused request has asked them, and
    /// must leave nothing behind that it was refused. A handler that ends without counts all the same.
    ///
    /// # Errors
    /// `rate_limited`, and those of the store.
    pub async fn pass(&self) -> Result<(), ApiError> {
        self.tally.pay(&self.origin.request_id).await
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        &self.event.raw_path
    }

    /// The route as the gateway names it.
    pub(super) fn route(&self) -> &str {
        &self.event.request_context.route_key
    }

    /// A header's value; several of one name are joined by commas.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.event.headers.get(name.as_str()).map(String::as_str)
    }

    /// A cookie's value; of several of one name, the first.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let mut cookies = self
            .event
            .cookies
            .iter()
            .map(|cookie| cookie.split_once('='));
        cookies.find_map(|cookie| {
            cookie
                .filter(|(key, _)| *key == name)
                .map(|(_, value)| value)
        })
    }

    /// A part of the path that the route names.
    pub fn path_parameter(&self, name: &str) -> Option<&str> {
        self.event.path_parameters.get(name).map(String::as_str)
    }

    /// The language that its sender reads.
    pub fn language(&self) -> Language {
        let header = self.header(&ACCEPT_LANGUAGE).unwrap_or_default();
        Language::accepted(header)
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

fn has_capitals(name: &str) -> bool {
    name.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// What is stored of an agent's name.
fn recorded(user_agent: &str) -> String {
    let mut recorded = user_agent.to_owned();
    recorded.retain(|c| !c.is_control());
    if let Some((end, _)) = recorded.char_indices().nth(LONGEST_USER_AGENT) {
        recorded.truncate(end);
    }
    recorded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_however_their_names_are_spelt() {
        for name in ["authorization", "Authorization", "AUTHORIZATION"] {
            let headers = [
                ("accept".to_owned(), "*/*".to_owned()),
                (name.to_owned(), "x".to_owned()),
            ];
            let request = Request::new(Event {
                headers: headers.into(),
                ..Event::default()
            });

            assert_eq!(request.header(&http::header::AUTHORIZATION), Some("x"));
        }
    }

    #[test]
    fn an_agents_name_is_stored_without_control_characters_and_not_endless() {
        assert_eq!(recorded("Train/2.0\t\u{85}x"), "Train/2.0x");
        assert_eq!(recorded(&"é".repeat(256)), "é".repeat(256));
        assert_eq!(
            recorded(&format!("\n{}x", "é".repeat(256))),
            "é".repeat(256)
        );
    }
}
