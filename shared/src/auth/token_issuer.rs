//! Issues the tokens of a session.

use std::time::Duration;

use secrecy::SecretString;

use crate::api;
use crate::config::Environment;
use crate::domain::csrf_token::CsrfTokens;
use crate::domain::custom_claims::CustomClaims;
use crate::domain::device_token;
use crate::domain::session::Session;
use crate::domain::timestamp::Timestamp;
use crate::domain::token::{AccessTokenIssuer, IssuedAccessToken, RefreshTokenIssuer};
use crate::domain::user::Role;
use crate::http::cookie_mode::TokenDelivery;
use crate::http::{Request, cookies};
use crate::store::Error;
use crate::store::kms::Kms;
use crate::{random, telemetry};

/// Issues access, refresh and CSRF tokens.
pub struct TokenIssuer {
    access: AccessTokenIssuer,
    refresh: RefreshTokenIssuer,
    /// Derives CSRF tokens.
    pub csrf: CsrfTokens,
    /// Signs access tokens, if this process does not hold their key.
    kms: Option<Kms>,
}

/// The tokens of a session, split by token delivery.
pub struct Tokens {
    /// The tokens in the body.
    pub body: api::Tokens,
    /// The tokens in cookies.
    pub cookies: Vec<String>,
    delivery: TokenDelivery,
}

impl TokenIssuer {
    /// Reads the variables of all three kinds of tokens.
    pub fn from_env(environment: &mut Environment) -> Self {
        let access = AccessTokenIssuer::from_env(environment);
        Self {
            kms: access.signs_with_kms().then(|| Kms::from_env(environment)),
            access,
            refresh: RefreshTokenIssuer::from_env(environment),
            csrf: CsrfTokens::new(&environment.secret("GUARD_SECRET"), None),
        }
    }

    /// Issues the session's current tokens; the access token contains the user's present role and claims.
    ///
    /// # Errors
    /// If KMS does not sign. With a key of this process there are none.
    pub async fn issue(
        &self,
        session: &Session,
        role: Role,
        claims: &CustomClaims,
        delivery: TokenDelivery,
        now: Timestamp,
    ) -> Result<Tokens, Error> {
        if *claims == CustomClaims::Invalid {
            tracing::error!(user_id = %session.user_id, "the claims in the user's record are invalid, and left out");
        }
        let (issued, expires_in) = self
            .access
            .issue(session, role, claims, now, random::bytes());
        let access_token = match (issued, &self.kms) {
            (IssuedAccessToken::Signed(token), _) => token,
            (IssuedAccessToken::Unsigned(token, key), Some(kms)) => {
                let signature = kms.sign(&key, token.message()).await?;
                token.signed(&signature)
            }
            (IssuedAccessToken::Unsigned(..), None) => {
                return Err(Error::Unexpected("no KMS client".to_owned()));
            }
        };
        let (refresh_token, refresh_expires_in) = self.refresh.issue(session, now);
        telemetry::count("TokensIssued", &[]);
        let csrf_token = (delivery == TokenDelivery::Cookies).then(|| self.csrf.token(session.id));
        let mut tokens = Tokens {
            body: api::Tokens {
                access_token,
                refresh_token: None,
                token_type: "Bearer",
                expires_in: expires_in.as_secs(),
                refresh_expires_in: refresh_expires_in.as_secs(),
                csrf_token,
                device_token: None,
            },
            cookies: Vec::new(),
            delivery,
        };
        let (name, lifetime) = (cookies::REFRESH_TOKEN, refresh_expires_in);
        tokens.body.refresh_token = tokens.deliver(refresh_token, name, lifetime);
        Ok(tokens)
    }
}

/// Delivers a device token alone: as a cookie if the request has that cookie, else in the body.
pub fn deliver_device_token(
    token: SecretString,
    request: &Request,
) -> (Option<SecretString>, Vec<String>) {
    let has_cookie = request.cookie(cookies::DEVICE).is_some();
    match has_cookie {
        true => {
            let cookie = cookies::set(cookies::DEVICE, &token, device_token::LIFETIME);
            (None, vec![cookie])
        }
        false => (Some(token), Vec::new()),
    }
}

impl Tokens {
    /// Adds a device token.
    pub fn with_device_token(mut self, token: SecretString) -> Self {
        self.body.device_token = self.deliver(token, cookies::DEVICE, device_token::LIFETIME);
        self
    }

    /// Returns the token for the body, or adds it as a cookie.
    fn deliver(
        &mut self,
        token: SecretString,
        cookie: &str,
        lifetime: Duration,
    ) -> Option<SecretString> {
        match self.delivery {
            TokenDelivery::Body => Some(token),
            TokenDelivery::Cookies => {
                self.cookies.push(cookies::set(cookie, &token, lifetime));
                None
            }
        }
    }
}
