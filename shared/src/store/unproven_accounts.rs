//! Accounts whose address nobody has proven, and their end: its owner says that they are not theirs.

use super::audit::{self, Audit, Event, Origin, Outcome};
use super::credentials::Credentials;
use super::dynamodb::{DynamoDb, TransactionError, Write};
use super::mailed_tokens::MailedTokens;
use super::two_factor::TwoFactor;
use super::users::Users;
use crate::domain::email_token::Purpose;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{User, UserId};

/// Tries at a removal that meets a change of the same record.
const TRIES: u32 = 3;

/// The record has changed since it was read.
#[derive(Clone, Copy)]
struct Stale;

/// What removes them.
pub struct UnprovenAccounts {
    /// Writes all or nothing.
    pub dynamodb: DynamoDb,
    /// Their records.
    pub users: Users,
    /// Their passwords.
    pub credentials: Credentials,
    /// Their second factors.
    pub two_factor: TwoFactor,
    /// The tokens of their mails.
    pub mailed_tokens: MailedTokens,
    /// Where it is recorded.
    pub audit: Audit,
}

impl UnprovenAccounts {
    /// The account goes at once, with its password, and its names are free for the one whose address it is. Its
    /// sessions are accepted nowhere without it. `false`, and nothing happens, where there is none (any more), or
    /// its address is proven.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn remove(&self, id: UserId, origin: &Origin) -> Result<bool, super::Error> {
        for _ in 0..TRIES {
            let user = self.users.find(id, origin.at).await?;
            let user = user.filter(|user| user.is_active() && !user.email_verified);
            let Some(user) = user else { return Ok(false) };
            match self.remove_as_read(&user, origin).await {
                Ok(()) => return Ok(true),
                Err(TransactionError::Refused(Stale)) => {}
                Err(TransactionError::Store(error)) => return Err(error),
            }
        }
        let cause = "the record kept changing".to_owned();
        Err(super::Error::Unavailable(cause))
    }

    async fn remove_as_read(
        &self,
        user: &User,
        origin: &Origin,
    ) -> Result<(), TransactionError<Stale>> {
        let (now, event, success) = (origin.at, Event::EmailRejection, Outcome::Success);
        let mut items = vec![
            self.users.remove_unverified(user),
            self.users.release_email(&user.email, user.id),
            self.credentials.remove_password(user.id),
            self.audit.create(user.id, event, success, origin),
        ];
        let username = user.username.iter();
        items.extend(username.map(|username| self.users.release_username(username, user.id)));
        let rejection = user.rejection.iter();
        items.extend(rejection.map(|rejection| self.mailed_tokens.discard_rejection(rejection)));
        items.extend(self.verification_token(user, now).await?);
        items.extend(self.two_factor.remove_all(user.id, now).await?);
        self.dynamodb.transact(Write::all(items, Stale)).await?;
        audit::log(Some(user.id), event, success, origin);
        Ok(())
    }

    /// The end of the verification token, if it has not gone by itself.
    async fn verification_token(
        &self,
        user: &User,
        now: Timestamp,
    ) -> Result<Option<super::dynamodb::TransactWriteItem>, super::Error> {
        let Some(token) = &user.verification_token else {
            return Ok(None);
        };
        let purpose = Purpose::VerifyEmail;
        let found = self.mailed_tokens.find(purpose, token, now).await?;
        Ok(found.map(|_| self.mailed_tokens.remove(purpose, token)))
    }
}
