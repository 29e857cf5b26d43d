//! `POST /api/auth/2fa/setup`.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::tokens::exposed;
use super::{Field, optional};
use crate::domain::code::Code;
use crate::domain::password::Password;
use crate::domain::person_name::PersonName;

/// The body of a device setup; it may be left out.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct TwoFactorSetupRequest {
    /// The name of the device.
    #[serde(default, deserialize_with = "optional")]
    pub device_name: Option<Field<PersonName>>,
    /// A code of a confirmed device, or a backup code; required if two-factor authentication is on.
    #[serde(default, deserialize_with = "optional")]
    pub token: Option<Field<Code>>,
    /// The caller's password; required if the sign-in is not recent.
    #[serde(default, deserialize_with = "optional")]
    pub password: Option<Field<Password>>,
}

/// The secret of the new device, shown only once.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TwoFactorSetupAnswer {
    /// The secret in base 32, for typing.
    #[serde(serialize_with = "exposed")]
    #[schemars(with = "String")]
    pub secret: SecretString,
    /// The URL for an app on the same device.
    #[serde(serialize_with = "exposed")]
    #[schemars(with = "String")]
    pub otpauth_url: SecretString,
    /// A PNG image as a `data:` URL, for an app on another device.
    #[serde(serialize_with = "exposed")]
    #[schemars(with = "String")]
    pub qr_code_url: SecretString,
    /// The device's identifier.
    pub device_id: String,
}
