//! The settings of the tokens that functions issue and verify.

use std::time::Duration;

use secrecy::SecretString;

use crate::config::Environment;
use crate::domain::custom_claims::Namespace;
use crate::domain::device_token::{self, DeviceTokenIssuer, DeviceTokenVerifier};
use crate::domain::duration::{days, minutes};
use crate::domain::session::RotationPolicy;
use crate::domain::token::{
    AccessKey, AccessTokenIssuer, AccessTokenVerifier, PublicKeys, RefreshTokenIssuer,
    RefreshTokenVerifier, SigningConfig, SigningKey, VerifyingConfig, VerifyingKey,
};

/// The secret of access tokens under HS256.
const ACCESS: &str = "JWT_SECRET";
/// The private key of access tokens.
const PRIVATE_KEY: &str = "JWT_PRIVATE_KEY";
/// The public keys of access tokens.
const PUBLIC_KEYS: &str = "JWT_PUBLIC_KEYS";
/// The form of the namespace of claims, for messages.
const NAMESPACE: &str =
    "a name of letters, digits, _, -, ., : and / that is no claim of every token";
/// The secret of refresh tokens.
const REFRESH: &str = "JWT_REFRESH_SECRET";
/// The secret of device tokens.
const GUARD: &str = "GUARD_SECRET";

impl SigningConfig {
    fn from_env(environment: &mut Environment, key: SigningKey) -> Self {
        Self {
            key,
            issuer: environment.text("JWT_ISSUER"),
            audience: environment.text("JWT_AUDIENCE"),
        }
    }
}

impl VerifyingConfig {
    fn from_env(environment: &mut Environment, keys: Vec<VerifyingKey>) -> Self {
        Self {
            keys,
            issuer: environment.text("JWT_ISSUER"),
            audience: environment.text("JWT_AUDIENCE"),
        }
    }
}

/// Reads a secret and, if there is one, the previous one.
fn secrets(environment: &mut Environment, name: &str) -> Vec<SecretString> {
    let current = environment.secret(name);
    let previous = environment.optional_secret(&format!("{name}_PREVIOUS"));
    std::iter::once(current).chain(previous).collect()
}

/// Refuses `JWT_SECRET` beside keys: a token that everybody can verify must not be one that every verifier can make.
fn refuse_secret_beside(environment: &mut Environment, keys: &str) {
    if environment.optional_text(ACCESS).is_some() {
        environment.refuse(format!("{ACCESS} and {keys} exclude each other"));
    }
}

fn access_key(environment: &mut Environment) -> AccessKey {
    let Some(private) = environment.optional_secret(PRIVATE_KEY) else {
        return AccessKey::Held(SigningKey::symmetric(&environment.secret(ACCESS)));
    };
    refuse_secret_beside(environment, PRIVATE_KEY);
    AccessKey::private(&private).unwrap_or_else(|problem| {
        environment.refuse(format!("{PRIVATE_KEY} {problem}"));
        AccessKey::Held(SigningKey::symmetric(&private))
    })
}

fn verifying_keys(environment: &mut Environment) -> Vec<VerifyingKey> {
    match public_keys(environment) {
        Some(keys) => keys.verifying_keys(),
        None => {
            let secrets = secrets(environment, ACCESS);
            secrets.iter().map(VerifyingKey::symmetric).collect()
        }
    }
}

/// Reads `JWT_PUBLIC_KEYS`; `None` where access tokens are signed with `JWT_SECRET`.
pub fn public_keys(environment: &mut Environment) -> Option<PublicKeys> {
    let text = environment.optional_text(PUBLIC_KEYS)?;
    refuse_secret_beside(environment, PUBLIC_KEYS);
    let keys = PublicKeys::parse(&text).unwrap_or_else(|problem| {
        environment.refuse(format!("{PUBLIC_KEYS} {problem}"));
        PublicKeys::default()
    });
    Some(keys)
}

impl AccessTokenIssuer {
    /// Reads `JWT_PRIVATE_KEY` or `JWT_SECRET`, and `JWT_ISSUER`, `JWT_AUDIENCE`, `JWT_EXPIRY` and
    /// `JWT_CLAIMS_NAMESPACE`.
    pub fn from_env(environment: &mut Environment) -> Self {
        let expiry = environment.lifetime("JWT_EXPIRY", minutes(15));
        let key = access_key(environment);
        let namespace = environment.optional("JWT_CLAIMS_NAMESPACE", NAMESPACE, Namespace::parse);
        let names = (
            environment.text("JWT_ISSUER"),
            environment.text("JWT_AUDIENCE"),
        );
        Self::new(key, names, expiry, namespace.unwrap_or_default())
    }
}

impl AccessTokenVerifier {
    /// Reads `JWT_PUBLIC_KEYS` or `JWT_SECRET` and `JWT_SECRET_PREVIOUS`, and `JWT_ISSUER` and `JWT_AUDIENCE`.
    pub fn from_env(environment: &mut Environment) -> Self {
        let keys = verifying_keys(environment);
        Self::new(VerifyingConfig::from_env(environment, keys))
    }
}

impl RefreshTokenIssuer {
    /// Reads `JWT_REFRESH_SECRET`, `JWT_ISSUER` and `JWT_AUDIENCE`.
    pub fn from_env(environment: &mut Environment) -> Self {
        let key = SigningKey::symmetric(&environment.secret(REFRESH));
        Self::new(SigningConfig::from_env(environment, key))
    }
}

impl RefreshTokenVerifier {
    /// Reads `JWT_REFRESH_SECRET`, `JWT_REFRESH_SECRET_PREVIOUS`, `JWT_ISSUER` and `JWT_AUDIENCE`.
    pub fn from_env(environment: &mut Environment) -> Self {
        let secrets = secrets(environment, REFRESH);
        let keys = secrets.iter().map(VerifyingKey::symmetric).collect();
        Self::new(VerifyingConfig::from_env(environment, keys))
    }
}

impl DeviceTokenIssuer {
    /// Reads `GUARD_SECRET`, `JWT_ISSUER` and `JWT_AUDIENCE`.
    pub fn from_env(environment: &mut Environment) -> Self {
        let key = device_token::signing_key(&environment.secret(GUARD));
        Self::new(SigningConfig::from_env(environment, key))
    }
}

impl DeviceTokenVerifier {
    /// Reads `GUARD_SECRET`, `GUARD_SECRET_PREVIOUS`, `JWT_ISSUER` and `JWT_AUDIENCE`.
    pub fn from_env(environment: &mut Environment) -> Self {
        let secrets = secrets(environment, GUARD);
        let keys = secrets.iter().map(device_token::verifying_key).collect();
        Self::new(VerifyingConfig::from_env(environment, keys))
    }
}

impl RotationPolicy {
    /// Reads `JWT_REFRESH_EXPIRY`, `REMEMBER_ME_EXPIRY` and `REFRESH_GRACE`.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            idle: refresh_expiry(environment),
            idle_remembered: remember_me_expiry(environment),
            grace: environment.duration("REFRESH_GRACE", Duration::from_secs(10)),
        }
    }
}

/// Reads `JWT_REFRESH_EXPIRY`: the time between two refreshes after which a session ends.
pub fn refresh_expiry(environment: &mut Environment) -> Duration {
    environment.lifetime("JWT_REFRESH_EXPIRY", days(7))
}

/// Reads `REMEMBER_ME_EXPIRY`: the same time for users who asked to be remembered.
pub fn remember_me_expiry(environment: &mut Environment) -> Duration {
    environment.lifetime("REMEMBER_ME_EXPIRY", days(30))
}

/// Reads `SESSION_MAX_AGE`: the time from sign-in after which a session ends, however often it is refreshed.
pub fn session_max_age(environment: &mut Environment) -> Duration {
    environment.lifetime("SESSION_MAX_AGE", days(30))
}
