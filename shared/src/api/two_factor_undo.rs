//! `POST /api/auth/2fa/undo`. The answer is only a message.

use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use super::Field;
use crate::domain::email_token::TokenHash;

/// The body of the request that turns the second factor off by a mailed link.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct TwoFactorUndoRequest {
    /// The token of the mailed link.
    pub token: Field<TokenHash>,
}
