//! Cookie mode: tokens that no script should reach are delivered as cookies, and requests with such a cookie need proof
//! that they come from an allowed page (OWASP, "Cross-Site Request Forgery Prevention").

use http::header::{HeaderName, ORIGIN};

use super::Request;
use crate::config::Environment;
use crate::domain::csrf_token::CsrfTokens;
use crate::domain::origin::{self, matches};
use crate::domain::rule::rule;
use crate::domain::session::SessionId;
use crate::error::ApiError;

const TRANSPORT: HeaderName = HeaderName::from_static("x-token-transport");
const CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");

/// The token delivery: how a client receives the refresh token and the device token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenDelivery {
    /// In the body.
    Body,
    /// As cookies, with a CSRF token in the body.
    Cookies,
}

impl TokenDelivery {
    /// Returns the delivery that the request asks for; by default in the body. An unknown value is an error: a typing
    /// error must not put tokens in reach of a page that did not want them.
    ///
    /// # Errors
    /// `validation_failed`.
    pub fn requested_by(request: &Request) -> Result<Self, ApiError> {
        match request.header(&TRANSPORT) {
            None => Ok(Self::Body),
            Some(value) if value.eq_ignore_ascii_case("body") => Ok(Self::Body),
            Some(value) if value.eq_ignore_ascii_case("cookie") => Ok(Self::Cookies),
            Some(_) => Err(ApiError::invalid(
                "X-Token-Transport",
                rule("invalid_value", "must be cookie or body"),
            )),
        }
    }
}

/// Returns whether a request without the refresh token's cookie comes from a client in cookie mode.
pub(crate) fn expects_cookie(request: &Request) -> bool {
    let names = [&TRANSPORT, &CSRF_TOKEN, &ORIGIN];
    names.into_iter().any(|name| request.header(name).is_some())
}

/// Protects the refresh token's cookie from cross-site request forgery (OWASP CSRF Prevention Cheat Sheet).
pub struct CsrfProtection {
    /// The exact origins of the pages that may send the cookie.
    origins: Vec<String>,
    csrf_tokens: CsrfTokens,
}

impl CsrfProtection {
    /// Reads `CORS_ALLOWED_ORIGINS`, `GUARD_SECRET` and `GUARD_SECRET_PREVIOUS`.
    pub fn from_env(environment: &mut Environment) -> Self {
        let (name, form) = (
            "CORS_ALLOWED_ORIGINS",
            "origins such as https://app.example.com, separated by commas",
        );
        let origins = environment.optional(name, form, origin::parse_list);
        let origins = origins.unwrap_or_default();
        let is_plain = |origin: &String| origin.starts_with("http://");
        if environment.is_production() && origins.iter().any(is_plain) {
            environment.refuse(format!("{name} must be https: origins in prod"));
        }
        let secret = environment.secret("GUARD_SECRET");
        let previous = environment.optional_secret("GUARD_SECRET_PREVIOUS");
        Self {
            origins,
            csrf_tokens: CsrfTokens::new(&secret, previous.as_ref()),
        }
    }

    /// Checks that the request comes from a page on the list.
    ///
    /// # Errors
    /// `origin_not_allowed`.
    pub fn origin(&self, request: &Request) -> Result<(), ApiError> {
        let origin = request.header(&ORIGIN);
        match origin.filter(|origin| self.origins.iter().any(|listed| matches(listed, origin))) {
            Some(_) => Ok(()),
            None => Err(ApiError::OriginNotAllowed),
        }
    }

    /// Checks that the request carries the session's CSRF token.
    ///
    /// # Errors
    /// `csrf_failed`.
    pub fn csrf_token(&self, request: &Request, session: SessionId) -> Result<(), ApiError> {
        let token = request.header(&CSRF_TOKEN).unwrap_or_default();
        match self.csrf_tokens.verify(session, token) {
            true => Ok(()),
            false => Err(ApiError::CsrfFailed),
        }
    }
}
