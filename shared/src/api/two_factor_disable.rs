//! `POST /api/auth/2fa/disable`. The answer is a message alone.

use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use super::{Field, optional};
use crate::domain::code::Code;

/// The body of a removal.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct TwoFactorDisableRequest {
    /// A code of an active device, or a backup code.
    pub token: Field<Code>,
    /// That device alone.
    #[serde(default, deserialize_with = "optional")]
    pub device_id: Option<Field<String>>,
}
