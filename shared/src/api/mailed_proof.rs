//! The proof that somebody has read a mail: the token of its link, or its code.

use validator::ValidationErrors;

use super::Field;
use crate::domain::email_token::TokenHash;
use crate::domain::mailed_code::MailedCode;
use crate::domain::rule::rule;

/// A proof that somebody has read a mail.
pub enum MailedProof {
    /// The token of the link.
    Token(TokenHash),
    /// The value that the client kept, and the code.
    Code(TokenHash, MailedCode),
}

impl MailedProof {
    /// Returns the proof of a request that [`Self::check`] has accepted.
    pub fn of(
        token: Option<Field<TokenHash>>,
        request_token: Option<Field<TokenHash>>,
        code: Option<Field<MailedCode>>,
    ) -> Option<Self> {
        match (token, request_token, code) {
            (Some(token), _, _) => Some(Self::Token(token.into_inner())),
            (None, Some(kept), Some(code)) => {
                Some(Self::Code(kept.into_inner(), code.into_inner()))
            }
            _ => None,
        }
    }

    /// Checks that a request has either the token, or the kept value and the code.
    ///
    /// # Errors
    /// `exactly_one`, at `token`.
    pub fn check(
        token: Option<&Field<TokenHash>>,
        request_token: Option<&Field<TokenHash>>,
        code: Option<&Field<MailedCode>>,
    ) -> Result<(), ValidationErrors> {
        match (token, request_token, code) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => Ok(()),
            _ => {
                let message = "either token, or requestToken and code, is required";
                let mut errors = ValidationErrors::new();
                errors.add("token", rule("exactly_one", message));
                Err(errors)
            }
        }
    }
}
