//! The settings of the tokens that functions issue and verify.

use std::time::Duration;

use crate::config::Environment;
use crate::domain::device_token::{DeviceTokenIssuer, DeviceTokenVerifier};
use crate::domain::duration::{days, minutes};
use crate::domain::session::RotationPolicy;
use crate::domain::token::{
    AccessTokenIssuer, AccessTokenVerifier, RefreshTokenIssuer, RefreshTokenVerifier,
    SigningConfig, VerifyingConfig,
};

/// The secret of access tokens.
const ACCESS: &str = "JWT_SECRET";
/// The secret of refresh tokens.
const REFRESH: &str = "JWT_REFRESH_SECRET";
/// The secret of device tokens.
const GUARD: &str = "GUARD_SECRET";

fn signing(environment: &mut Environment, secret: &str) -> SigningConfig {
    SigningConfig {
        secret: environment.secret(secret),
        issuer: environment.text("JWT_ISSUER"),
        audience: environment.text("JWT_AUDIENCE"),
    }
}

fn verifying(environment: &mut Environment, secret: &str) -> VerifyingConfig {
    VerifyingConfig {
        current: signing(environment, secret),
        previous_secret: environment.optional_secret(&format!("{secret}_PREVIOUS")),
    }
}

impl AccessTokenIssuer {
    /// Reads `JWT_SECRET`, `JWT_ISSUER`, `JWT_AUDIENCE` and `JWT_EXPIRY`.
    pub fn from_env(environment: &mut Environment) -> Self {
        let expiry = environment.lifetime("JWT_EXPIRY", minutes(15));
        Self::new(signing(environment, ACCESS), expiry)
    }
}

impl AccessTokenVerifier {
    /// Reads `JWT_SECRET`, `JWT_SECRET_PREVIOUS`, `JWT_ISSUER` and `JWT_AUDIENCE`.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self::new(verifying(environment, ACCESS))
    }
}

impl RefreshTokenIssuer {
    /// Reads `JWT_REFRESH_SECRET`, `JWT_ISSUER` and `JWT_AUDIENCE`.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self::new(signing(environment, REFRESH))
    }
}

impl RefreshTokenVerifier {
    /// Reads `JWT_REFRESH_SECRET`, `JWT_REFRESH_SECRET_PREVIOUS`, `JWT_ISSUER` and `JWT_AUDIENCE`.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self::new(verifying(environment, REFRESH))
    }
}

impl DeviceTokenIssuer {
    /// Reads `GUARD_SECRET`, `JWT_ISSUER` and `JWT_AUDIENCE`.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self::new(signing(environment, GUARD))
    }
}

impl DeviceTokenVerifier {
    /// Reads `GUARD_SECRET`, `GUARD_SECRET_PREVIOUS`, `JWT_ISSUER` and `JWT_AUDIENCE`.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self::new(verifying(environment, GUARD))
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
