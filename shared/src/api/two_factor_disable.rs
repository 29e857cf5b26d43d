//! `POST /api/auth/2fa/disable`. The answer is only a message.

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
    /// A code of a confirmed device, or a backup code.
    pub token: Field<Code>,
    /// The only device to remove; all devices if absent.
    #[serde(default, deserialize_with = "optional")]
    pub device_id: Option<Field<String>>,
}
