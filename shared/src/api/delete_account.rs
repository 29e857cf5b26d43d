//! `DELETE /api/auth/profile`. The answer is a message alone.

use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use super::{Field, optional};
use crate::domain::code::Code;
use crate::domain::password::Password;

/// The body of a deletion.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct DeleteAccountRequest {
    /// The caller's.
    pub password: Field<Password>,
    /// Six digits of the app, or a backup code: where there is a second factor.
    #[serde(default, deserialize_with = "optional")]
    pub two_factor_token: Option<Field<Code>>,
}
