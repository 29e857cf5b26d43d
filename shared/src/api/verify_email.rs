//! `POST /api/auth/verify-email`. The answer is only a message.

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
    /// The token of the mailed link.
    pub token: Field<TokenHash>,
    /// Whether the owner of the address rejects the account ("this wasn't me").
    #[serde(default, deserialize_with = "optional")]
    pub reject: Option<Field<bool>>,
    /// The account's password; required if neither an access token nor a device token shows that the sender registered
    /// the account.
    #[serde(default, deserialize_with = "optional")]
    pub password: Option<Field<Password>>,
}
