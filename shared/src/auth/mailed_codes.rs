//! Mailed codes, for the client that asked: made together with a mail, and compared.

use std::time::Duration;

use secrecy::SecretString;

use super::email_tokens::EmailTokens;
use super::lockout::MailedCodeLockout;
use crate::api::{MailedProof, RequestedCode};
use crate::config::Environment;
use crate::domain::client_info::ClientInfo;
use crate::domain::email_address::EmailAddress;
use crate::domain::email_token::{Purpose, TokenHash, TokenId};
use crate::domain::mailed_code::{CodePurpose, MailedCode};
use crate::domain::user::{User, UserId};
use crate::error::ApiError;
use crate::store::Error;
use crate::store::mailed_codes::{LIFETIME_SECONDS, MailedCodeEntry, MailedCodes as Store};
use crate::timing;

/// The unit of the answer time of a code: it covers what a code of nobody does not need.
const ANSWER_TIME: Duration = Duration::from_millis(100);

/// Makes and compares mailed codes.
pub struct MailedCodes {
    /// The codes.
    pub store: Store,
    tokens: EmailTokens,
    guesses: MailedCodeLockout,
}

/// A mail with a code.
#[derive(Clone, Copy)]
pub struct CodeOfMail<'a> {
    /// The mail's recipient.
    pub to: &'a EmailAddress,
    /// The account that has the address; `None` for a sign-up.
    pub owner: Option<UserId>,
    /// The mail's identifier.
    pub token_id: &'a TokenId,
}

impl<'a> CodeOfMail<'a> {
    /// Returns the code of a mail to a user.
    pub fn of(user: &'a User, token_id: &'a TokenId) -> Self {
        Self {
            to: &user.email,
            owner: Some(user.id),
            token_id,
        }
    }
}

/// The outcome of a try.
pub enum Tried {
    /// It is the code.
    Right(MailedCodeEntry),
    /// It is another code.
    Wrong(MailedCodeEntry),
    /// No code can be right: the value that the client kept is unknown, used, expired, was tried five times, or is for
    /// another purpose; or the address had thirty wrong codes in a day.
    Void,
}

impl MailedCodes {
    /// Reads `EMAIL_TOKEN_SECRET` and the variables of Redis.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            store: Store::from_env(environment),
            tokens: EmailTokens::from_env(environment),
            guesses: MailedCodeLockout::from_env(environment),
        }
    }

    /// Creates the value that the client keeps, and its hash.
    pub fn mint(&self) -> (SecretString, TokenHash) {
        self.tokens.mint_request_token()
    }

    /// Returns the answer to a request for a mail.
    pub fn requested(request_token: SecretString) -> RequestedCode {
        RequestedCode {
            request_token,
            expires_in: LIFETIME_SECONDS,
        }
    }

    /// Stores the code of the mail with this identifier; without a mail, takes the same time and stores nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn create(
        &self,
        hash: &TokenHash,
        purpose: CodePurpose,
        mail: Option<CodeOfMail<'_>>,
    ) -> Result<(), Error> {
        let entry = mail.map(|mail| MailedCodeEntry {
            purpose,
            email: mail.to.clone(),
            user_id: mail.owner,
            token_id: mail.token_id.clone(),
            tries: 0,
        });
        self.store.create(hash, entry.as_ref()).await
    }

    /// Stores the code beside the link of a mail, in the same way. Best effort: without the code, the link still works.
    pub async fn create_beside_link(
        &self,
        hash: &TokenHash,
        purpose: CodePurpose,
        mail: Option<CodeOfMail<'_>>,
    ) {
        let created = self.create(hash, purpose, mail);
        timing::best_effort("storing the code of a mail", created).await;
    }

    /// Counts a try at a code and compares it. A right code clears the address's count of wrong ones.
    ///
    /// # Errors
    /// `service_unavailable` or `internal_error` if the store fails.
    pub async fn try_code(
        &self,
        purpose: CodePurpose,
        request_token: &TokenHash,
        code: &MailedCode,
        client: &ClientInfo,
    ) -> Result<Tried, ApiError> {
        let entry = self.store.try_code(request_token).await?;
        let Some(entry) = entry.filter(|entry| entry.purpose == purpose) else {
            return Ok(Tried::Void);
        };
        let attempt = match self.guesses.attempt(&entry.email, client).await {
            Ok(attempt) => attempt,
            // Told as a wrong code: only an address with an account has a count.
            Err(ApiError::AccountLocked(_)) => return Ok(Tried::Void),
            Err(error) => return Err(error),
        };
        let expected = self.tokens.code(purpose, &entry.token_id, &entry.email);
        if !expected.matches(code) {
            return Ok(Tried::Wrong(entry));
        }
        attempt.forgive(client).await;
        Ok(Tried::Right(entry))
    }

    /// Returns the token that a proof stands for: its own, or that of the link beside its code. `None` if the code is not
    /// right.
    ///
    /// # Errors
    /// `service_unavailable` or `internal_error` if the store fails.
    pub async fn token(
        &self,
        (purpose, code_purpose): (Purpose, CodePurpose),
        proof: Option<MailedProof>,
        client: &ClientInfo,
    ) -> Result<Option<TokenHash>, ApiError> {
        let (kept, code) = match proof {
            Some(MailedProof::Code(kept, code)) => (kept, code),
            Some(MailedProof::Token(token)) => return Ok(Some(token)),
            None => return Ok(None),
        };
        let tried = self.try_code(code_purpose, &kept, &code, client);
        match timing::in_multiples_of(ANSWER_TIME, tried).await? {
            Tried::Right(entry) => Ok(Some(self.tokens.hash(purpose, &entry.token_id))),
            Tried::Wrong(_) | Tried::Void => Ok(None),
        }
    }
}
