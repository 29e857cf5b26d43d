//! The caller of a request, by its access token, the session behind it and the user's record.

use std::time::Duration;

use http::header::AUTHORIZATION;

use crate::config::Environment;
use crate::domain::session::{SessionEpoch, SessionId};
use crate::domain::timestamp::Timestamp;
use crate::domain::token::{AccessClaims, AccessTokenVerifier, TokenError};
use crate::domain::user::{Role, User};
use crate::error::ApiError;
use crate::http::Request;
use crate::store::sessions::Sessions;
use crate::store::users::Users;

/// A signed-in user.
#[derive(Debug)]
pub struct Caller {
    /// The user's record as it is now.
    pub user: User,
    /// The session that the access token belongs to.
    pub session_id: SessionId,
    /// The time since the user signed in; a refresh does not renew it (OpenID Connect Core, `auth_time`).
    pub signed_in_for: Duration,
    /// The claims of the access token, as they were when it was issued.
    pub claims: AccessClaims,
    session_epoch: SessionEpoch,
}

impl Caller {
    /// Refuses a caller with another role. The role is read from the user's record, not from the token.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn require_role(&self, role: Role) -> Result<(), ApiError> {
        match self.user.role == role {
            true => Ok(()),
            false => Err(ApiError::Forbidden),
        }
    }

    /// Reads the user's record again after a concurrent change. The session must have outlived that change.
    ///
    /// # Errors
    /// `token_revoked`, and `service_unavailable` or `internal_error` if the store fails.
    pub async fn reread(&self, users: &Users, now: Timestamp) -> Result<User, ApiError> {
        let user = users.find(self.user.id, now).await?;
        let is_allowed = |user: &User| {
            let status = user.account_status();
            status.allows_session(self.session_id, self.session_epoch)
        };
        user.filter(is_allowed).ok_or(ApiError::TokenRevoked)
    }
}

/// The access token that a request presents (RFC 6750, 2.1). A token in a query or in a form is ignored (RFC 9700,
/// 4.3.2).
#[derive(Debug)]
pub enum PresentedAccessToken {
    /// There is no token.
    Absent,
    /// A token that was not issued here, or not as an access token.
    Invalid,
    /// A token that has expired: sufficient to end its session, and to know whose limits to charge.
    Expired(AccessClaims),
    /// A token that is valid now; its session may have ended.
    Valid(AccessClaims),
}

impl PresentedAccessToken {
    /// Reads and verifies the header `Authorization`.
    pub fn read(tokens: &AccessTokenVerifier, request: &Request) -> Self {
        Self::of_header(
            tokens,
            request.header(&AUTHORIZATION),
            request.received_at(),
        )
    }

    /// Verifies the value of a header `Authorization`.
    fn of_header(tokens: &AccessTokenVerifier, header: Option<&str>, now: Timestamp) -> Self {
        let Some(header) = header else {
            return Self::Absent;
        };
        match bearer_token(header) {
            Some(token) => Self::of_token(tokens, token, now),
            None => Self::Invalid,
        }
    }

    fn of_token(tokens: &AccessTokenVerifier, token: &str, now: Timestamp) -> Self {
        match tokens.verify(token, now) {
            Ok(claims) => Self::Valid(claims),
            Err(TokenError::Invalid) => Self::Invalid,
            Err(TokenError::Expired) => tokens
                .expired(token, now)
                .map_or(Self::Invalid, Self::Expired),
        }
    }

    /// Returns the claims of a token that is valid now.
    ///
    /// # Errors
    /// `missing_token`, `invalid_token` or `token_expired`.
    pub fn valid(&self) -> Result<&AccessClaims, ApiError> {
        match self {
            Self::Valid(claims) => Ok(claims),
            Self::Absent => Err(ApiError::MissingToken),
            Self::Invalid => Err(ApiError::InvalidToken),
            Self::Expired(_) => Err(ApiError::TokenExpired),
        }
    }

    /// Returns the claims of a token that is or was valid; `None` without a token.
    ///
    /// # Errors
    /// `invalid_token`.
    pub fn valid_or_expired(&self) -> Result<Option<&AccessClaims>, ApiError> {
        match self {
            Self::Valid(claims) | Self::Expired(claims) => Ok(Some(claims)),
            Self::Absent => Ok(None),
            Self::Invalid => Err(ApiError::InvalidToken),
        }
    }
}

fn bearer_token(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("Bearer")
        .then_some(token.trim_start())
}

/// Authenticates callers.
pub struct Authenticator {
    tokens: AccessTokenVerifier,
    sessions: Sessions,
    users: Users,
}

impl Authenticator {
    /// Reads the variables of access tokens and of both stores.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            tokens: AccessTokenVerifier::from_env(environment),
            sessions: Sessions::from_env(environment),
            users: Users::from_env(environment),
        }
    }

    /// Returns the caller, for a public endpoint; `None` for a request without a token. An invalid token is an error
    /// here too: a client that sent one must learn that it is not signed in.
    ///
    /// # Errors
    /// `invalid_token`, `token_expired` or `token_revoked`, and `service_unavailable` or `internal_error` if a store
    /// fails.
    pub async fn optional(&self, request: &Request) -> Result<Option<Caller>, ApiError> {
        self.by_header(request.header(&AUTHORIZATION), request.received_at())
            .await
    }

    /// Returns the caller of a request with this header `Authorization`, as [`Self::optional`] does.
    ///
    /// # Errors
    /// Those of [`Self::optional`].
    pub async fn by_header(
        &self,
        header: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<Caller>, ApiError> {
        match PresentedAccessToken::of_header(&self.tokens, header, now) {
            PresentedAccessToken::Absent => Ok(None),
            token => self.authenticate(&token, now).await.map(Some),
        }
    }

    /// Returns the caller whose access token this is.
    ///
    /// # Errors
    /// `invalid_token`, `token_expired` or `token_revoked`, and `service_unavailable` or `internal_error` if a store
    /// fails.
    pub async fn by_token(&self, token: &str, now: Timestamp) -> Result<Caller, ApiError> {
        let token = PresentedAccessToken::of_token(&self.tokens, token, now);
        self.authenticate(&token, now).await
    }

    /// Returns the caller. The session and the record are read in parallel: a sign-out takes effect at once, and so
    /// does a change of the record whose sessions could not be removed.
    ///
    /// # Errors
    /// `missing_token`, `invalid_token`, `token_expired` or `token_revoked`, and `service_unavailable` or
    /// `internal_error` if a store fails.
    pub(crate) async fn authenticate(
        &self,
        token: &PresentedAccessToken,
        now: Timestamp,
    ) -> Result<Caller, ApiError> {
        let claims = token.valid()?;
        let (session, user) = tokio::join!(
            self.sessions.find(claims.sid, claims.sub),
            self.users.find(claims.sub, now),
        );
        let (Some(session), Some(user)) = (session?, user?) else {
            return Err(ApiError::TokenRevoked);
        };
        let status = user.account_status();
        match status.allows_session(claims.sid, session.epoch) {
            true => Ok(Caller {
                user,
                session_id: claims.sid,
                signed_in_for: session.age,
                claims: claims.clone(),
                session_epoch: session.epoch,
            }),
            false => Err(ApiError::TokenRevoked),
        }
    }
}
