//! The tokens of a session.

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};

/// The tokens of a session, as they are handed out once.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    /// A JWT (RFC 9068).
    #[serde(serialize_with = "exposed")]
    #[schemars(with = "String")]
    pub access_token: SecretString,
    /// What is exchanged for the next tokens; not in cookie mode.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exposed_if_any"
    )]
    #[schemars(with = "Option<String>")]
    pub refresh_token: Option<SecretString>,
    /// `Bearer` (RFC 6750).
    pub token_type: &'static str,
    /// Seconds until the access token expires.
    pub expires_in: u64,
    /// Seconds until the refresh token expires.
    pub refresh_expires_in: u64,
    /// What goes with the refresh token's cookie; in cookie mode alone.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exposed_if_any"
    )]
    #[schemars(with = "Option<String>")]
    pub csrf_token: Option<SecretString>,
    /// Puts the failures of a device into a bucket of its own; where a session starts, and not in cookie mode.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exposed_if_any"
    )]
    #[schemars(with = "Option<String>")]
    pub device_token: Option<SecretString>,
}

/// Writes a secret into the one answer that hands it out.
pub(super) fn exposed<S: Serializer>(
    secret: &SecretString,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

/// The same where there is one.
pub(super) fn exposed_if_any<S: Serializer>(
    secret: &Option<SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    secret
        .as_ref()
        .map(ExposeSecret::expose_secret)
        .serialize(serializer)
}
