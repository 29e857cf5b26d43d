//! Tokens of mailed links.

use secrecy::SecretString;

use crate::config::Environment;
use crate::domain::email_token::{self, Purpose, TokenHash, TokenId};
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

    /// Derives the token of an identifier, for the mail.
    pub fn derive(&self, purpose: Purpose, id: &TokenId) -> SecretString {
        email_token::derive(&self.0, purpose, id)
    }
}
