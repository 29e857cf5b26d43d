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
    /// Which device; else the newest that is pending.
    #[serde(default, deserialize_with = "optional")]
    pub device_id: Option<Field<String>>,
    /// Whether new backup codes are asked for.
    #[serde(default, deserialize_with = "optional")]
    pub regenerate: Option<Field<bool>>,
    /// The caller's, where the sign-in is not recent.
    #[serde(default, deserialize_with = "optional")]
    pub password: Option<Field<Password>>,
}

/// The backup codes, where there are new ones: they are shown once.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TwoFactorVerifyAnswer<'a> {
    /// Ten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_codes: Option<Vec<&'a str>>,
}
