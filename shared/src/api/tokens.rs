//! The tokens of a session.

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};

/// The tokens of a session, in the answer that issues them.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    /// The access token, a JWT (RFC 9068).
    #[serde(serialize_with = "exposed")]
    #[schemars(with = "String")]
    pub access_token: SecretString,
    /// The refresh token, to be exchanged for the next tokens; not in cookie mode.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exposed_if_any"
    )]
    #[schemars(with = "String")]
    pub refresh_token: Option<SecretString>,
    /// `Bearer` (RFC 6750).
    pub token_type: &'static str,
    /// The seconds until the access token expires.
    pub expires_in: u64,
    /// The seconds until the refresh token expires.
    pub refresh_expires_in: u64,
    /// The CSRF token, to be sent with the refresh token's cookie; only in cookie mode.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exposed_if_any"
    )]
    #[schemars(with = "String")]
    pub csrf_token: Option<SecretString>,
    /// The device token, which gives the device a failure counter of its own; only when a session starts, and not in
    /// cookie mode.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exposed_if_any"
    )]
    #[schemars(with = "String")]
    pub device_token: Option<SecretString>,
}

/// Serialises a secret into the answer that issues it.
pub(super) fn exposed<S: Serializer>(
    secret: &SecretString,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

/// Serialises an optional secret in the same way.
pub(super) fn exposed_if_any<S: Serializer>(
    secret: &Option<SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    secret
        .as_ref()
        .map(ExposeSecret::expose_secret)
        .serialize(serializer)
}
