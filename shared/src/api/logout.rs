//! `POST /api/auth/logout`. The answer is only a message.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use validator::Validate;

use super::{Field, optional};

/// The body of a sign-out; it may be left out.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct LogoutRequest {
    /// Whether to end all sessions of the user, not only this one.
    #[serde(default, deserialize_with = "optional")]
    pub all_devices: Option<Field<bool>>,
    /// The session's refresh token, for clients without an access token; it takes precedence over the cookie.
    #[serde(default, deserialize_with = "optional")]
    #[schemars(with = "Option<String>")]
    pub refresh_token: Option<Field<SecretString>>,
}
