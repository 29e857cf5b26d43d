//! `POST /api/auth/refresh`. The answer is [`Tokens`](super::Tokens).

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::Field;
use super::tokens::exposed;

/// The body of a refresh; in cookie mode it may be left out.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct RefreshRequest {
    /// The refresh token; it takes precedence over the cookie.
    #[schemars(with = "Option<String>")]
    pub refresh_token: Option<Field<SecretString>>,
}

/// The answer of `POST /api/auth/csrf-token`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CsrfTokenAnswer {
    /// The CSRF token, to be sent with the refresh token's cookie.
    #[serde(serialize_with = "exposed")]
    #[schemars(with = "String")]
    pub csrf_token: SecretString,
}
