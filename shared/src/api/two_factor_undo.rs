//! `POST /api/auth/2fa/undo`. The answer is a message alone.

use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use super::Field;
use crate::domain::email_token::TokenHash;

/// The body of an undoing.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct TwoFactorUndoRequest {
    /// Of the mailed link.
    pub token: Field<TokenHash>,
}
