//! `POST /api/auth/register`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::{Validate, ValidationErrors};

use super::{Field, Tokens, User, optional};
use crate::domain::email_address::{self, EmailAddress};
use crate::domain::password::{Owner, Password, Policy};
use crate::domain::person_name::PersonName;
use crate::domain::username::{NewUsername, Username};

/// The body of a registration.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct RegisterRequest {
    /// Compared without regard to case, kept as typed.
    pub email: Field<EmailAddress>,
    /// Never trimmed, never truncated.
    pub password: Field<Password>,
    /// Unique without regard to case.
    #[serde(default, deserialize_with = "optional")]
    #[schemars(with = "Option<Field<Username>>")]
    pub username: Option<Field<NewUsername>>,
    /// How the user wants to be called.
    #[serde(default, deserialize_with = "optional")]
    pub name: Option<Field<PersonName>>,
}

impl RegisterRequest {
    /// Checks the password as a new one, and that mail gets to the address from anywhere unless the operator allows
    /// names of an intranet. Only here: whoever has an account keeps it.
    ///
    /// # Errors
    /// Every rule of the policy that the password breaks, and `invalid_email`.
    pub fn check(
        &self,
        policy: &Policy,
        intranet_addresses_are_allowed: bool,
    ) -> Result<(), ValidationErrors> {
        let owner = Owner {
            email: self.email.as_ref(),
            username: self
                .username
                .as_ref()
                .and_then(Field::as_ref)
                .map(AsRef::as_ref),
        };
        let password = self.password.check_policy("password", policy, owner);
        let mut errors = password.err().unwrap_or_default();
        let is_public = self.email.as_ref().is_none_or(EmailAddress::is_public);
        if !is_public && !intranet_addresses_are_allowed {
            errors.add("email", email_address::invalid());
        }
        match errors.is_empty() {
            true => Ok(()),
            false => Err(errors),
        }
    }
}

/// The new user; tokens, too, unless the address must be proven first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegisterAnswer {
    /// The user.
    pub user: User,
    /// The tokens of the first session.
    #[serde(flatten)]
    pub tokens: Option<Tokens>,
}
