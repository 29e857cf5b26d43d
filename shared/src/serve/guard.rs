//! The checks before the handler: CloudFront's secret, the client's address, bots, rate limits, and the token that
//! determines whose limits the request counts under.

use std::sync::Arc;

use super::bot_protection::BotProtection;
use super::client_identity::ClientIdentity;
use super::rate_limits::{Charge, Endpoint, Identified, RateLimits};
use crate::auth::authentication::{Authenticator, PresentedAccessToken};
use crate::auth::refresh_token::PresentedRefreshToken;
use crate::config::Environment;
use crate::domain::token::{AccessTokenVerifier, RefreshTokenVerifier};
use crate::domain::user::Role;
use crate::error::ApiError;
use crate::http::Request;
use crate::store::rate_limiter::Subject;

/// Reads the tokens of one kind.
pub trait Tokens {
    /// The token that a request presents.
    type Presented;

    /// Reads and verifies a request's token.
    fn read(&self, request: &Request) -> Self::Presented;

    /// Returns the caller under whose limits the request counts; `None` for an anonymous request.
    #[expect(private_interfaces, reason = "implemented here alone")]
    fn identify<'a>(
        &self,
        presented: &Self::Presented,
        limits: &'a RateLimits,
    ) -> Option<Identified<'a>>;
}

/// For an endpoint that takes no tokens.
pub struct NoTokens;

impl Tokens for NoTokens {
    type Presented = ();

    fn read(&self, _: &Request) {}

    #[expect(private_interfaces, reason = "implemented here alone")]
    fn identify<'a>(&self, (): &(), _: &'a RateLimits) -> Option<Identified<'a>> {
        None
    }
}

impl Tokens for AccessTokenVerifier {
    type Presented = PresentedAccessToken;

    fn read(&self, request: &Request) -> PresentedAccessToken {
        PresentedAccessToken::read(self, request)
    }

    #[expect(private_interfaces, reason = "implemented here alone")]
    fn identify<'a>(
        &self,
        presented: &PresentedAccessToken,
        limits: &'a RateLimits,
    ) -> Option<Identified<'a>> {
        let (claims, subject) = match presented {
            PresentedAccessToken::Absent | PresentedAccessToken::Invalid => return None,
            PresentedAccessToken::Valid(claims) => (claims, Subject::User(claims.sub)),
            // Clients with an expired token are expected to refresh, however many share an address. An expired token
            // must use up neither its user's requests nor its session's refreshes.
            PresentedAccessToken::Expired(claims) => {
                (claims, Subject::ExpiredSession(claims.sub, claims.sid))
            }
        };
        let tier = match claims.role {
            Role::User => limits.user.as_ref(),
            Role::Admin => limits.admin.as_ref(),
        };
        Some(Identified { tier, subject })
    }
}

impl Tokens for RefreshTokenVerifier {
    type Presented = PresentedRefreshToken;

    fn read(&self, request: &Request) -> PresentedRefreshToken {
        PresentedRefreshToken::read(self, request)
    }

    #[expect(private_interfaces, reason = "implemented here alone")]
    fn identify<'a>(
        &self,
        presented: &PresentedRefreshToken,
        limits: &'a RateLimits,
    ) -> Option<Identified<'a>> {
        let claims = presented.claims.as_ref().ok()?;
        Some(Identified {
            tier: limits.user.as_ref(), // the refresh token does not contain the role
            // By session: a token whose session has ended must not use up its user's requests.
            subject: Subject::Session(claims.sub, claims.sid),
        })
    }
}

/// Checks the requests to one endpoint.
pub struct Guard<T> {
    clients: ClientIdentity,
    /// Only for a public endpoint.
    bots: Option<BotProtection>,
    limits: Arc<RateLimits>,
    tokens: T,
}

/// Checks the requests to a public endpoint.
pub type PublicGuard = Guard<NoTokens>;

/// Checks the requests to an endpoint that takes access tokens.
pub type AccessTokenGuard = Guard<AccessTokenVerifier>;

/// Checks the requests to an endpoint that takes refresh tokens.
pub type RefreshTokenGuard = Guard<RefreshTokenVerifier>;

impl PublicGuard {
    /// Creates the guard of a public endpoint.
    pub fn public(environment: &mut Environment, endpoint: Endpoint) -> Self {
        let limits = RateLimits::from_env(environment, Some(endpoint));
        Self::new(environment, limits, NoTokens).against_bots(environment)
    }
}

impl AccessTokenGuard {
    /// Creates the guard of a public endpoint at which requests with an access token count under their user.
    pub fn public_with_access_tokens(environment: &mut Environment, endpoint: Endpoint) -> Self {
        Self::with_access_tokens(environment, Some(endpoint)).against_bots(environment)
    }

    /// Creates the guard of an endpoint that ends sessions. Requests without a valid access token have no limit per
    /// minute, so that everybody can sign out.
    pub fn for_logout(environment: &mut Environment) -> Self {
        let limits = Self::limits(environment, None).without_anonymous_tier();
        let tokens = AccessTokenVerifier::from_env(environment);
        Self::new(environment, limits, tokens)
    }

    fn with_access_tokens(environment: &mut Environment, endpoint: Option<Endpoint>) -> Self {
        let limits = Self::limits(environment, endpoint);
        let tokens = AccessTokenVerifier::from_env(environment);
        Self::new(environment, limits, tokens)
    }

    fn limits(environment: &mut Environment, endpoint: Option<Endpoint>) -> RateLimits {
        let limits = RateLimits::from_env(environment, endpoint);
        limits
            .with_user_tier(environment)
            .with_admin_tier(environment)
    }
}

impl RefreshTokenGuard {
    /// Creates the guard of an endpoint that takes refresh tokens.
    pub fn for_refresh(environment: &mut Environment, endpoint: Endpoint) -> Self {
        let limits = RateLimits::from_env(environment, Some(endpoint)).with_user_tier(environment);
        let tokens = RefreshTokenVerifier::from_env(environment);
        Self::new(environment, limits, tokens)
    }
}

impl<T> Guard<T> {
    fn new(environment: &mut Environment, limits: RateLimits, tokens: T) -> Self {
        Self {
            clients: ClientIdentity::from_env(environment),
            bots: None,
            limits: Arc::new(limits),
            tokens,
        }
    }

    fn against_bots(self, environment: &mut Environment) -> Self {
        Self {
            bots: Some(BotProtection::from_env(environment)),
            ..self
        }
    }

    pub(super) async fn connect_early(&self) {
        self.limits.connect_early().await;
    }
}

/// A request that passed the guard, its token, and its pending charge.
pub(super) struct Checked<P> {
    pub(super) request: Request,
    pub(super) token: P,
    pub(super) charge: Charge,
}

impl<T: Tokens> Guard<T> {
    /// Checks a request without charging it yet.
    ///
    /// # Errors
    /// `forbidden` for a request that bypasses CloudFront, `bot_detected`, and `validation_failed` for an invalid
    /// address of a trusted proxy.
    pub(super) fn check(&self, request: Request) -> Result<Checked<T::Presented>, ApiError> {
        let address = self.clients.address(&request)?;
        let request = request.with_address(address);
        if let Some(bots) = &self.bots {
            bots.check(request.client())?;
        }
        let token = self.tokens.read(&request);
        let caller = self.tokens.identify(&token, &self.limits);
        let id = &request.client().request_id;
        let charge = self.limits.charge(id, Subject::Client(address), caller);
        Ok(Checked {
            request,
            token,
            charge,
        })
    }
}

/// Checks the requests to an endpoint for signed-in users, and authenticates their callers.
pub struct AuthenticatedGuard {
    pub(super) guard: Guard<AccessTokenVerifier>,
    pub(super) authenticator: Authenticator,
}

impl AuthenticatedGuard {
    /// Creates the guard of an endpoint, with this limit of its own, if any.
    pub fn from_env(environment: &mut Environment, endpoint: Option<Endpoint>) -> Self {
        Self {
            guard: Guard::with_access_tokens(environment, endpoint),
            authenticator: Authenticator::from_env(environment),
        }
    }
}
