//! `POST /api/auth/passkeys/register/options` and `POST /api/auth/passkeys/register`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use validator::Validate;

use super::profile::Passkey;
use super::{Field, PasskeyCredential, optional};
use crate::domain::code::Code;
use crate::domain::password::Password;
use crate::domain::person_name::PersonName;

/// The body of a request for options; it may be left out.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct PasskeyRegisterOptionsRequest {
    /// The caller's password; required if the sign-in is not recent.
    #[serde(default, deserialize_with = "optional")]
    pub password: Option<Field<Password>>,
    /// Six digits of an authenticator app, or a backup code; required with two-factor authentication.
    #[serde(default, deserialize_with = "optional")]
    pub two_factor_token: Option<Field<Code>>,
}

/// The options of a ceremony.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasskeyOptionsAnswer {
    /// The options, for `PublicKeyCredential.parseCreationOptionsFromJSON()` or `parseRequestOptionsFromJSON()`; they
    /// work once, for five minutes.
    #[schemars(with = "serde_json::Map<String, Value>")]
    pub public_key: Value,
}

/// The body of a registration.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct PasskeyRegisterRequest {
    /// The answer of `navigator.credentials.create()`.
    pub credential: Field<PasskeyCredential>,
    /// A name by which the user knows the passkey again.
    #[serde(default, deserialize_with = "optional")]
    pub name: Option<Field<PersonName>>,
}

/// The new passkey.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasskeyRegisterAnswer {
    /// The passkey.
    pub passkey: Passkey,
}
