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

/// The body of a set-up; it may be left out.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct TwoFactorSetupRequest {
    /// What the device is to be called.
    #[serde(default, deserialize_with = "optional")]
    pub device_name: Option<Field<PersonName>>,
    /// A code of an active device, or a backup code: when there is a second factor already.
    #[serde(default, deserialize_with = "optional")]
    pub token: Option<Field<Code>>,
    /// The caller's, where the sign-in is not recent.
    #[serde(default, deserialize_with = "optional")]
    pub password: Option<Field<Password>>,
}

/// What is shown once.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TwoFactorSetupAnswer {
    /// In base 32, for people to type.
    #[serde(serialize_with = "exposed")]
    #[schemars(with = "String")]
    pub secret: SecretString,
    /// For an app on the same device.
    #[serde(serialize_with = "exposed")]
    #[schemars(with = "String")]
    pub otpauth_url: SecretString,
    /// A PNG as a `data:` URL, for an app on another device.
    #[serde(serialize_with = "exposed")]
    #[schemars(with = "String")]
    pub qr_code_url: SecretString,
    /// Names the device.
    pub device_id: String,
}
