//! Access and refresh tokens.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::custom_claims::{CustomClaims, Namespace};
use super::session::{Session, SessionId};
use super::timestamp::Timestamp;
use super::user::{Role, UserId};

mod jwt;
mod keys;

use jwt::Form;
pub use jwt::{
    Claims, Issuer, SigningConfig, TokenError, Unsigned, Verifier, VerifyingConfig,
    claims_of_verified,
};
pub(super) use keys::key_id;
pub use keys::{AccessKey, InvalidKey, KmsKey, PublicKeys, SigningKey, VerifyingKey};

/// The claims of an access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// The user.
    pub sub: UserId,
    /// The user again, under the name that clients of other systems expect.
    #[serde(rename = "userId")]
    pub user_id: UserId,
    /// The session.
    pub sid: SessionId,
    /// The token's identifier.
    pub jti: String,
    /// The user's role when the token was issued.
    pub role: Role,
    /// The time of the sign-in, in seconds since the Unix epoch; a refresh does not renew it (RFC 9068, 2.2.1).
    pub auth_time: i64,
    /// How the user signed in (RFC 8176).
    pub amr: Vec<String>,
    /// The application's own claims, under their namespace.
    #[serde(flatten)]
    pub custom: BTreeMap<String, Value>,
    #[serde(rename = "type")]
    kind: Kind,
}

/// The claims of a refresh token. All of them are derived from the session, so that the same state of a session always
/// gives the same token, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshClaims {
    /// The user.
    pub sub: UserId,
    /// The user again.
    #[serde(rename = "userId")]
    pub user_id: UserId,
    /// The session.
    pub sid: SessionId,
    #[serde(rename = "type")]
    kind: Kind,
    /// The session's refresh counter.
    pub counter: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Access,
    Refresh,
}

impl Claims for AccessClaims {
    /// RFC 9068, 2.1.
    const TYPE: &'static str = "at+jwt";

    fn are_consistent(&self) -> bool {
        self.kind == Kind::Access && self.sub == self.user_id
    }
}

impl Claims for RefreshClaims {
    const TYPE: &'static str = "JWT";

    fn are_consistent(&self) -> bool {
        self.kind == Kind::Refresh && self.sub == self.user_id
    }
}

/// Verifies access tokens.
pub type AccessTokenVerifier = Verifier<AccessClaims>;

/// Verifies refresh tokens. Only the session store knows whether a token is its session's current one.
pub type RefreshTokenVerifier = Verifier<RefreshClaims>;

/// Issues access tokens.
pub struct AccessTokenIssuer {
    signer: AccessTokenSigner,
    expiry: Duration,
    namespace: Namespace,
}

enum AccessTokenSigner {
    Held(Issuer<AccessClaims>),
    Kms(Form<AccessClaims>, KmsKey),
}

/// An access token as its issuer returns it.
pub enum IssuedAccessToken {
    /// The whole token.
    Signed(SecretString),
    /// The token that this key of KMS must sign.
    Unsigned(Unsigned, KmsKey),
}

impl AccessTokenIssuer {
    /// Creates an issuer with this key, these claims `iss` and `aud`, and this lifetime; `namespace` names the
    /// application's own claims.
    pub fn new(
        key: AccessKey,
        (issuer, audience): (String, String),
        expiry: Duration,
        namespace: Namespace,
    ) -> Self {
        let signer = match key {
            AccessKey::Held(key) => AccessTokenSigner::Held(Issuer::new(SigningConfig {
                key,
                issuer,
                audience,
            })),
            AccessKey::Kms(key) => {
                let form = Form::new(Algorithm::RS256, key.id.clone(), (issuer, audience));
                AccessTokenSigner::Kms(form, key)
            }
        };
        Self {
            signer,
            expiry,
            namespace,
        }
    }

    /// Whether KMS signs the tokens.
    pub fn signs_with_kms(&self) -> bool {
        matches!(self.signer, AccessTokenSigner::Kms(..))
    }

    /// Issues a token for this session; returns it with its lifetime, which never exceeds that of the session's refresh
    /// token.
    pub fn issue(
        &self,
        session: &Session,
        role: Role,
        custom: &CustomClaims,
        now: Timestamp,
        jti: [u8; 16],
    ) -> (IssuedAccessToken, Duration) {
        let exp = now.plus(self.expiry).min(session.expires_at).seconds();
        let methods = session.methods.names().into_iter();
        let claims = AccessClaims {
            sub: session.user_id,
            user_id: session.user_id,
            sid: session.id,
            jti: URL_SAFE_NO_PAD.encode(jti),
            role,
            auth_time: session.signed_in_at.seconds(),
            amr: methods.map(str::to_owned).collect(),
            custom: self.namespace.wrap(custom),
            kind: Kind::Access,
        };
        let token = match &self.signer {
            AccessTokenSigner::Held(issuer) => {
                IssuedAccessToken::Signed(issuer.sign(claims, now.seconds(), exp))
            }
            AccessTokenSigner::Kms(form, key) => {
                let token = form.unsigned(claims, now.seconds(), exp);
                IssuedAccessToken::Unsigned(token, key.clone())
            }
        };
        (token, seconds_between(now, exp))
    }
}

/// Issues refresh tokens.
pub struct RefreshTokenIssuer(Issuer<RefreshClaims>);

impl RefreshTokenIssuer {
    /// Creates an issuer with this key; a token's lifetime is its session's.
    pub fn new(config: SigningConfig) -> Self {
        Self(Issuer::new(config))
    }

    /// Issues the session's current token; returns it with its remaining lifetime, which never exceeds a session's:
    /// `now` is the time of the request, and may be a second before the store made the token.
    pub fn issue(&self, session: &Session, now: Timestamp) -> (SecretString, Duration) {
        let exp = session.expires_at.seconds();
        let claims = RefreshClaims {
            sub: session.user_id,
            user_id: session.user_id,
            sid: session.id,
            kind: Kind::Refresh,
            counter: session.counter,
        };
        let token = self.0.sign(claims, session.rotated_at.seconds(), exp);
        let made = now.max(session.rotated_at);
        (token, seconds_between(made, exp))
    }
}

fn seconds_between(now: Timestamp, later_seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(later_seconds - now.seconds()).unwrap_or(0))
}

#[cfg(test)]
pub(super) mod tests;
