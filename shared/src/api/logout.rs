//! `POST /api/auth/logout`. The answer is a message alone.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use validator::Validate;

use super::{Field, optional};

/// The body of a logout; it may be left out.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct LogoutRequest {
    /// Whether all sessions of the user are to end, not this one alone.
    #[serde(default, deserialize_with = "optional")]
    pub all_devices: Option<Field<bool>>,
    /// The session's, where there is no access token at hand; it goes before the cookie.
    #[serde(default, deserialize_with = "optional")]
    #[schemars(with = "Option<String>")]
    pub refresh_token: Option<Field<SecretString>>,
}
