//! Tokens of mailed links.

use secrecy::SecretString;

use crate::config::Environment;
use crate::domain::email_address::EmailAddress;
use crate::domain::email_token::{self, Purpose, TokenHash, TokenId};
use crate::domain::mailed_code::{CodePurpose, MailedCode};
use crate::random;

/// Creates and derives tokens with the secret of this deployment.
pub struct EmailTokens(SecretString);

impl EmailTokens {
    /// Reads `EMAIL_TOKEN_SECRET`.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self(environment.secret("EMAIL_TOKEN_SECRET"))
    }

    /// Creates a token: returns its identifier for the outbox and its hash for the store.
    pub fn mint(&self, purpose: Purpose) -> (TokenId, TokenHash) {
        email_token::mint(&self.0, purpose, random::bytes())
    }

    /// Creates the value that binds a mailed code to the client that asked: 256 random bits in hexadecimal, and their hash.
    pub fn mint_request_token(&self) -> (SecretString, TokenHash) {
        email_token::of_random(random::bytes())
    }

    /// Derives the code of a mail to this address.
    pub fn code(&self, purpose: CodePurpose, id: &TokenId, to: &EmailAddress) -> MailedCode {
        MailedCode::derive(&self.0, purpose, id, to)
    }

    /// Derives the hash of the token of an identifier.
    pub fn hash(&self, purpose: Purpose, id: &TokenId) -> TokenHash {
        email_token::hash(&self.derive(purpose, id))
    }

    /// Derives the token of an identifier, for the mail.
    pub fn derive(&self, purpose: Purpose, id: &TokenId) -> SecretString {
        email_token::derive(&self.0, purpose, id)
    }
}
