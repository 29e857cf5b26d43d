//! `POST /api/auth/verify-email`. The answer is a message alone.

use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use super::{Field, optional};
use crate::domain::email_token::TokenHash;
use crate::domain::password::Password;

/// The body of a verification.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct VerifyEmailRequest {
    /// Of the mailed link.
    pub token: Field<TokenHash>,
    /// Whether the address' owner says "this wasn't me".
    #[serde(default, deserialize_with = "optional")]
    pub reject: Option<Field<bool>>,
    /// Of the account, where neither an access token nor a device token shows who has registered it.
    #[serde(default, deserialize_with = "optional")]
    pub password: Option<Field<Password>>,
}
