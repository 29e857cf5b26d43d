//! Who is asking. A handler that needs to know has an [`Authenticator`] and asks it for a [`Caller`]:
//! [`required`](Authenticator::required), [`optional`](Authenticator::optional) or
//! [`with_role`](Authenticator::with_role).

use std::time::Duration;

use http::header::AUTHORIZATION;

use super::Request;
use crate::domain::session::SessionId;
use crate::domain::token::{AccessClaims, AccessTokenVerifier, TokenError};
use crate::domain::user::{Role, User};
use crate::error::ApiError;
use crate::store::sessions::Sessions;
use crate::store::users::Users;

/// Somebody who is signed in.
#[derive(Debug)]
pub struct Caller {
    /// The user's record as it is now.
    pub user: User,
    /// The session that the access token belongs to.
    pub session_id: SessionId,
    /// How long ago the user signed in; a refresh does not renew it (OpenID Connect Core, `auth_time`).
    pub signed_in_for: Duration,
}

/// Authenticates requests by their access token, which the guard for users has verified, the session
/// behind it and the user's record.
pub struct Authenticator {
    /// Knows whether the session is over.
    pub sessions: Sessions,
    /// Knows whether the account is active.
    pub users: Users,
}

impl Authenticator {
    /// The caller; nobody else gets further, and no caller who asks too often.
    ///
    /// # Errors
    /// The 401s, `rate_limited`, and those of the stores.
    pub async fn required(&self, request: &Request) -> Result<Caller, ApiError> {
        self.optional(request).await?.ok_or(ApiError::MissingToken)
    }

    /// The caller, or nobody for a request without a token. A token that is not valid is an error
    /// here too: a client that sent one must learn that it is not signed in.
    ///
    /// # Errors
    /// The 401s but `missing_token`, `rate_limited`, and those of the stores.
    pub async fn optional(&self, request: &Request) -> Result<Option<Caller>, ApiError> {
        let Some(claims) = claims(request)? else {
            request.pass().await?;
            return Ok(None);
        };
        // All at once: logout and revocation take effect here immediately, and so does a change of
        // the record alone, even if its sessions are still there.
        let (passed, session, user) = tokio::join!(
            request.pass(),
            self.sessions.find(claims.sid, claims.sub),
            self.users.find(claims.sub, request.received_at()),
        );
        passed?;
        let (Some(session), Some(user)) = (session?, user?) else {
            return Err(ApiError::TokenRevoked);
        };
        match user.standing().allows(claims.sid, session.epoch) {
            true => Ok(Some(Caller {
                user,
                session_id: claims.sid,
                signed_in_for: session.age,
            })),
            false => Err(ApiError::TokenRevoked),
        }
    }

    /// The caller, if the user has this role now, whatever the token says.
    ///
    /// # Errors
    /// `forbidden` for another role; the 401s, `rate_limited`, and those of the stores.
    pub async fn with_role(&self, request: &Request, role: Role) -> Result<Caller, ApiError> {
        let caller = self.required(request).await?;
        if caller.user.role == role {
            Ok(caller)
        } else {
            Err(ApiError::Forbidden)
        }
    }
}

/// The claims of the request's access token, without asking whether its session is over: enough
/// only to end the session.
///
/// # Errors
/// `invalid_token` and `token_expired`.
pub fn claims(request: &Request) -> Result<Option<&AccessClaims>, ApiError> {
    match request.access_token() {
        None => Ok(None),
        Some(Ok(claims)) => Ok(Some(claims)),
        Some(Err(TokenError::Invalid)) => Err(ApiError::InvalidToken),
        Some(Err(TokenError::Expired)) => Err(ApiError::TokenExpired),
    }
}

/// The same of a token that has perhaps expired.
///
/// # Errors
/// `invalid_token`.
pub fn claims_of_expired(
    tokens: &AccessTokenVerifier,
    request: &Request,
) -> Result<Option<AccessClaims>, ApiError> {
    let Some(header) = request.header(&AUTHORIZATION) else {
        return Ok(None);
    };
    let token = bearer_token(header).ok_or(ApiError::InvalidToken)?;
    let claims = tokens.valid_or_expired(token, request.received_at());
    claims.map(Some).ok_or(ApiError::InvalidToken)
}

/// What the request's access token turns out to be, if it carries one. Asked once, at the door.
pub(super) fn verify(
    tokens: &AccessTokenVerifier,
    request: &Request,
) -> Option<Result<AccessClaims, TokenError>> {
    let token = bearer_token(request.header(&AUTHORIZATION)?).ok_or(TokenError::Invalid);
    Some(token.and_then(|token| tokens.verify(token, request.received_at())))
}

/// Whose the request's access token was, if it has expired.
pub(super) fn expired(tokens: &AccessTokenVerifier, request: &Request) -> Option<AccessClaims> {
    let token = bearer_token(request.header(&AUTHORIZATION)?)?;
    tokens.expired(token, request.received_at())
}

/// RFC 6750, 2.1. Tokens in a query or a form are never looked for (RFC 9700, 4.3.2).
fn bearer_token(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("Bearer")
        .then_some(token.trim_start())
}
