//! `POST /api/auth/password-reset/confirm`. The answer is only a message.

use schemars::JsonSchema;
use serde::Deserialize;
use validator::{Validate, ValidationErrors};

use super::Field;
use crate::domain::email_token::TokenHash;
use crate::domain::password::{Owner, Password, Policy};

/// The body of a password reset.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct ResetConfirmRequest {
    /// The token of the mailed link.
    pub token: Field<TokenHash>,
    /// The new password.
    pub new_password: Field<Password>,
}

impl ResetConfirmRequest {
    /// Checks the new password by the rules that do not depend on its owner.
    ///
    /// # Errors
    /// Every rule of the policy that the password breaks.
    pub fn check_new_password(&self, policy: &Policy) -> Result<(), ValidationErrors> {
        self.new_password
            .check_policy("new_password", policy, Owner::default())
    }
}
