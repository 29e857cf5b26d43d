//! `POST /api/auth/2fa/verify`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::{Field, optional};
use crate::domain::password::Password;
use crate::domain::totp::TotpCode;

/// The body of a verification.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct TwoFactorVerifyRequest {
    /// A code of the device.
    pub token: Field<TotpCode>,
    /// The device's identifier; by default the newest pending device.
    #[serde(default, deserialize_with = "optional")]
    pub device_id: Option<Field<String>>,
    /// Whether to generate new backup codes.
    #[serde(default, deserialize_with = "optional")]
    pub regenerate: Option<Field<bool>>,
    /// The caller's password; required if the sign-in is not recent.
    #[serde(default, deserialize_with = "optional")]
    pub password: Option<Field<Password>>,
}

/// The new backup codes, if any, shown only once.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TwoFactorVerifyAnswer<'a> {
    /// Ten codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    pub backup_codes: Option<Vec<&'a str>>,
}
