//! `POST /api/auth/verify-email`. The answer is only a message.

use schemars::JsonSchema;
use serde::Deserialize;
use validator::{Validate, ValidationErrors};

use super::{Field, MailedProof, optional};
use crate::domain::email_token::TokenHash;
use crate::domain::mailed_code::MailedCode;
use crate::domain::password::Password;

/// The body of a verification.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct VerifyEmailRequest {
    /// The token of the mailed link; either this, or `requestToken` and `code`.
    #[serde(default, deserialize_with = "optional")]
    pub token: Option<Field<TokenHash>>,
    /// The value of the answer to the request for the mail.
    #[serde(default, deserialize_with = "optional")]
    pub request_token: Option<Field<TokenHash>>,
    /// The six digits of the mail.
    #[serde(default, deserialize_with = "optional")]
    pub code: Option<Field<MailedCode>>,
    /// Whether the owner of the address rejects the account ("this wasn't me").
    #[serde(default, deserialize_with = "optional")]
    pub reject: Option<Field<bool>>,
    /// The account's password; required if neither an access token nor a device token shows that the sender registered
    /// the account.
    #[serde(default, deserialize_with = "optional")]
    pub password: Option<Field<Password>>,
}

impl VerifyEmailRequest {
    /// Checks the proof.
    ///
    /// # Errors
    /// `exactly_one`, at `token`.
    pub fn check(&self) -> Result<(), ValidationErrors> {
        let (token, kept) = (self.token.as_ref(), self.request_token.as_ref());
        MailedProof::check(token, kept, self.code.as_ref())
    }
}
