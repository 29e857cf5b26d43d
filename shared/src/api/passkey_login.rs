//! `POST /api/auth/passkeys/login/options` and `POST /api/auth/passkeys/login`. The options have the form of
//! [`super::passkey_register::PasskeyOptionsAnswer`], and the answer to a sign-in is [`super::SignedIn`].

use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use super::{Field, PasskeyCredential, optional};

/// The body of a request for options: empty, and may be left out.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct PasskeyLoginOptionsRequest {}

/// The body of a sign-in.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct PasskeyLoginRequest {
    /// The answer of `navigator.credentials.get()`.
    pub credential: Field<PasskeyCredential>,
    /// Whether the session should last longer.
    #[serde(default, deserialize_with = "optional")]
    pub remember_me: Option<Field<bool>>,
}
