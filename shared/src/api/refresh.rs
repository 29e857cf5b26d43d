//! `POST /api/auth/refresh`. The answer is [`Tokens`](super::Tokens).

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use validator::Validate;

use super::Field;

/// The body of a refresh; in cookie mode it may be left out.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct RefreshRequest {
    /// The refresh token; it goes before the cookie.
    #[schemars(with = "Option<String>")]
    pub refresh_token: Option<Field<SecretString>>,
}
