//! `POST /api/auth/password-reset/confirm`. The answer is only a message.

use schemars::JsonSchema;
use serde::Deserialize;
use validator::{Validate, ValidationErrors};

use super::{Field, MailedProof, optional};
use crate::domain::email_token::TokenHash;
use crate::domain::mailed_code::MailedCode;
use crate::domain::password::{Owner, Password, Policy};

/// The body of a password reset.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct ResetConfirmRequest {
    /// The token of the mailed link; either this, or `requestToken` and `code`.
    #[serde(default, deserialize_with = "optional")]
    pub token: Option<Field<TokenHash>>,
    /// The value of the answer to the request for the mail.
    #[serde(default, deserialize_with = "optional")]
    pub request_token: Option<Field<TokenHash>>,
    /// The six digits of the mail.
    #[serde(default, deserialize_with = "optional")]
    pub code: Option<Field<MailedCode>>,
    /// The new password.
    pub new_password: Field<Password>,
}

impl ResetConfirmRequest {
    /// Checks the proof, and the new password by the rules that do not depend on its owner.
    ///
    /// # Errors
    /// Every rule of the policy that the password breaks, and `exactly_one`.
    pub fn check(&self, policy: &Policy) -> Result<(), ValidationErrors> {
        let (token, kept) = (self.token.as_ref(), self.request_token.as_ref());
        let proof = MailedProof::check(token, kept, self.code.as_ref());
        let password = self
            .new_password
            .check_policy("new_password", policy, Owner::default());
        let mut errors = password.err().unwrap_or_default();
        errors
            .errors_mut()
            .extend(proof.err().unwrap_or_default().errors().clone());
        match errors.is_empty() {
            true => Ok(()),
            false => Err(errors),
        }
    }
}
