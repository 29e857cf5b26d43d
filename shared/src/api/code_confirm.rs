//! `POST /api/auth/code/confirm`. The answer is [`super::SignedIn`].

use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use super::{Field, optional};
use crate::domain::code::Code;
use crate::domain::email_token::TokenHash;
use crate::domain::mailed_code::MailedCode;

/// The body of a sign-in with a mailed code.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct CodeConfirmRequest {
    /// The value of the answer to the request for the code.
    pub request_token: Field<TokenHash>,
    /// The six digits of the mail.
    pub code: Field<MailedCode>,
    /// Six digits of an authenticator app, or a backup code.
    #[serde(default, deserialize_with = "optional")]
    pub two_factor_token: Option<Field<Code>>,
    /// Whether the session should last longer.
    #[serde(default, deserialize_with = "optional")]
    pub remember_me: Option<Field<bool>>,
}
