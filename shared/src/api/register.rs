//! `POST /api/auth/register`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::{Validate, ValidationErrors};

use super::{Field, RequestedCode, Tokens, User, optional};
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
    /// The address, compared without regard to case, stored as typed.
    pub email: Field<EmailAddress>,
    /// The password, never trimmed, never truncated.
    pub password: Field<Password>,
    /// The username, unique without regard to case.
    #[serde(default, deserialize_with = "optional")]
    #[schemars(with = "Option<Field<Username>>")]
    pub username: Option<Field<NewUsername>>,
    /// The display name.
    #[serde(default, deserialize_with = "optional")]
    pub name: Option<Field<PersonName>>,
}

impl RegisterRequest {
    /// Checks the new password, and that the address is public, unless the operator allows intranet addresses. Only
    /// checked at registration: existing accounts keep their addresses.
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

/// The new user, with tokens unless the address must be proven first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegisterAnswer {
    /// The user.
    pub user: User,
    /// The tokens of the first session.
    #[serde(flatten)]
    pub tokens: Option<Tokens>,
    /// For the code in the mail that proves the address.
    pub verification: RequestedCode,
}
