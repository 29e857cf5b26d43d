//! `DELETE /api/auth/profile`. The answer is only a message.

use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use super::{Field, optional};
use crate::domain::code::Code;
use crate::domain::password::Password;

/// The body of an account deletion.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct DeleteAccountRequest {
    /// The caller's password.
    pub password: Field<Password>,
    /// Six digits of an authenticator app, or a backup code; required with two-factor authentication.
    #[serde(default, deserialize_with = "optional")]
    pub two_factor_token: Option<Field<Code>>,
}
