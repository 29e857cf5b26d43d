//! Cookie mode: the tokens that no script should reach come as cookies, and what comes by cookie needs
//! proof that a page of ours has sent it (OWASP, "Cross-Site Request Forgery Prevention").

use http::header::{HeaderName, ORIGIN};

use super::Request;
use crate::config::Environment;
use crate::domain::csrf_token::CsrfTokens;
use crate::domain::origin::{self, is_meant};
use crate::domain::rule::rule;
use crate::domain::session::SessionId;
use crate::error::ApiError;

const TRANSPORT: HeaderName = HeaderName::from_static("x-token-transport");
const CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");

/// How a client takes the refresh token and the device token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenDelivery {
    /// In the body.
    Body,
    /// As cookies, with a CSRF token in the body.
    Cookies,
}

impl TokenDelivery {
    /// As the request asks for; by default in the body. A slip of the finger must not hand a page what it did not
    /// want to have.
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

/// Whether a request is meant to carry the refresh token's cookie, although it has none.
pub(crate) fn expects_cookie(request: &Request) -> bool {
    let names = [&TRANSPORT, &CSRF_TOKEN, &ORIGIN];
    names.into_iter().any(|name| request.header(name).is_some())
}

/// Protects the refresh token's cookie from cross-site request forgery (OWASP CSRF Prevention Cheat Sheet).
pub struct CsrfProtection {
    /// The exact origins whose pages may send the cookie.
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
        let is_secure = |origin: &String| origin.starts_with("https://");
        if environment.is_production() && !origins.iter().all(is_secure) {
            environment.refuse(format!("{name} must be https: origins in prod"));
        }
        let secret = environment.secret("GUARD_SECRET");
        let previous = environment.optional_secret("GUARD_SECRET_PREVIOUS");
        Self {
            origins,
            csrf_tokens: CsrfTokens::new(&secret, previous.as_ref()),
        }
    }

    /// The request comes from a page on the list.
    ///
    /// # Errors
    /// `origin_not_allowed`.
    pub fn origin(&self, request: &Request) -> Result<(), ApiError> {
        let origin = request.header(&ORIGIN);
        match origin.filter(|origin| self.origins.iter().any(|listed| is_meant(listed, origin))) {
            Some(_) => Ok(()),
            None => Err(ApiError::OriginNotAllowed),
        }
    }

    /// The page has read the session's CSRF token.
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
