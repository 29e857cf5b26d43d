//! `POST /api/auth/login`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::{Validate, ValidationErrors};

use super::{Field, Tokens, User, optional};
use crate::domain::code::Code;
use crate::domain::email_address::EmailAddress;
use crate::domain::password::Password;
use crate::domain::rule::rule;

/// The body of a sign-in.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct LoginRequest {
    /// The address; exactly one of this, `username` and `identifier` is required.
    #[serde(default, deserialize_with = "optional")]
    pub email: Option<Field<EmailAddress>>,
    /// The username; an invalid one names no account.
    #[serde(default, deserialize_with = "optional")]
    pub username: Option<Field<String>>,
    /// An address or a username.
    #[serde(default, deserialize_with = "optional")]
    pub identifier: Option<Field<String>>,
    /// The password.
    pub password: Field<Password>,
    /// Six digits of an authenticator app, or a backup code.
    #[serde(default, deserialize_with = "optional")]
    pub two_factor_token: Option<Field<Code>>,
    /// Whether the session should last longer.
    #[serde(default, deserialize_with = "optional")]
    pub remember_me: Option<Field<bool>>,
}

impl LoginRequest {
    /// Checks that exactly one identifier is given.
    ///
    /// # Errors
    /// `exactly_one`, at `identifier`.
    pub fn check_identifier(&self) -> Result<(), ValidationErrors> {
        let fields = [&self.username, &self.identifier];
        let texts = fields.map(|field| field.as_ref().map(|text| text.as_ref().is_some()));
        let email = self.email.as_ref().map(|email| email.as_ref().is_some());
        let given: Vec<bool> = texts.into_iter().chain([email]).flatten().collect();
        // If one of them is invalid, only that is reported.
        let is_one_broken = given.contains(&false);
        if given.len() == 1 || is_one_broken {
            return Ok(());
        }
        let message = "exactly one of email, username and identifier is required";
        let mut errors = ValidationErrors::new();
        errors.add("identifier", rule("exactly_one", message));
        Err(errors)
    }
}

/// The user and the tokens of a new session.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoginAnswer {
    /// The user.
    pub user: User,
    /// The tokens.
    #[serde(flatten)]
    pub tokens: Tokens,
    /// True if the password is known from a data leak: the user should change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_leaked: Option<bool>,
}
