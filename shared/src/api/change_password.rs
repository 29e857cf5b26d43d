//! `POST /api/auth/change-password`.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use validator::{Validate, ValidationErrors};

use super::tokens::exposed_if_any;
use super::{Field, optional};
use crate::domain::code::Code;
use crate::domain::password::{Owner, Password, Policy, must_differ};

/// The body of a password change.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct ChangePasswordRequest {
    /// The current password.
    pub current_password: Field<Password>,
    /// The new password.
    pub new_password: Field<Password>,
    /// Six digits of an authenticator app, or a backup code; required with two-factor authentication.
    #[serde(default, deserialize_with = "optional")]
    pub two_factor_token: Option<Field<Code>>,
}

/// The answer to a password change. Earlier device tokens are revoked.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangePasswordAnswer {
    /// The caller's new device token; not in cookie mode.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exposed_if_any"
    )]
    #[schemars(with = "String")]
    pub device_token: Option<SecretString>,
}

impl ChangePasswordRequest {
    /// Checks the new password.
    ///
    /// # Errors
    /// Every rule of the policy that the password breaks; otherwise `must_differ` if it is the current one.
    pub fn check_new_password(
        &self,
        policy: &Policy,
        owner: Owner<'_>,
    ) -> Result<(), ValidationErrors> {
        self.new_password
            .check_policy("new_password", policy, owner)?;
        let new = self.new_password.as_ref();
        if new.is_some() && new == self.current_password.as_ref() {
            let mut errors = ValidationErrors::new();
            let rule = must_differ("current_password", "the current password");
            errors.add("new_password", rule);
            return Err(errors);
        }
        Ok(())
    }
}
