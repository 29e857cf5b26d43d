//! The refresh token of a request: in its body, or else in a cookie.

use secrecy::ExposeSecret;
use validator::ValidationErrors;

use crate::api::refresh::RefreshRequest;
use crate::api::required;
use crate::domain::token::{RefreshClaims, RefreshTokenVerifier, TokenError};
use crate::error::ApiError;
use crate::http::{Request, cookie_mode, cookies};

/// The place of a refresh token.
pub enum Source {
    /// The body; it takes precedence over the cookie.
    Body,
    /// The cookie, which a browser sends by itself.
    Cookie,
}

/// The refresh token that a request presents.
pub struct PresentedRefreshToken {
    /// The place of the token, or the error if the body is not valid.
    pub source: Result<Source, ApiError>,
    /// The token's claims, whether or not the body is valid.
    pub claims: Result<RefreshClaims, ApiError>,
}

impl PresentedRefreshToken {
    /// Reads the token before the handler runs, as requests are counted by session.
    pub(crate) fn read(tokens: &RefreshTokenVerifier, request: &Request) -> Self {
        let body = request.optional_body::<RefreshRequest>();
        let cookie = request.cookie(cookies::REFRESH_TOKEN);
        let in_body = body.as_ref().ok();
        let in_body = in_body.and_then(|body| body.fields.refresh_token.as_ref()?.as_ref());
        let token = in_body.map(|token| token.expose_secret()).or(cookie);
        let claims = match token.map(|token| tokens.verify(token, request.received_at())) {
            Some(Ok(claims)) => Ok(claims),
            Some(Err(TokenError::Expired)) => Err(ApiError::RefreshTokenExpired),
            Some(Err(TokenError::Invalid)) | None => Err(ApiError::RefreshTokenInvalid),
        };
        let is_somewhere = |fields: &RefreshRequest| {
            let mut errors = ValidationErrors::new();
            if fields.refresh_token.is_none() && cookie.is_none() {
                errors.add("refresh_token", required());
                return Err(errors);
            }
            Ok(())
        };
        // A page without its cookie is signed out (`missing_token`); a client that sends a body has forgotten a field.
        let is_absent = in_body.is_none() && cookie.is_none();
        if is_absent
            && body.is_ok()
            && (request.has_no_body() || cookie_mode::expects_cookie(request))
        {
            return Self {
                source: Err(ApiError::MissingToken),
                claims,
            };
        }
        let fields = body.and_then(|body| body.validate(is_somewhere));
        let source = fields.map(|fields| match fields.refresh_token {
            Some(_) => Source::Body,
            None => Source::Cookie,
        });
        Self { source, claims }
    }
}
