//! `POST /api/auth/register`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::{Validate, ValidationErrors};

use super::{Field, Tokens, User};
use crate::domain::email_address::EmailAddress;
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
    #[schemars(with = "Option<Field<Username>>")]
    pub username: Option<Field<NewUsername>>,
    /// How the user wants to be called.
    pub name: Option<Field<PersonName>>,
}

impl RegisterRequest {
    /// Checks the password as a new one.
    ///
    /// # Errors
    /// Every rule of the policy that it breaks.
    pub fn check_password(&self, policy: &Policy) -> Result<(), ValidationErrors> {
        let owner = Owner {
            email: self.email.as_ref(),
            username: self
                .username
                .as_ref()
                .and_then(Field::as_ref)
                .map(AsRef::as_ref),
        };
        self.password.check_policy("password", policy, owner)
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
