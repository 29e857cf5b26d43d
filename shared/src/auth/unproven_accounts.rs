//! Removal of accounts with an unproven address, at the request of the owner of the address.

use super::retry::Stale;
use crate::config::Environment;
use crate::domain::client_info::ClientInfo;
use crate::domain::email_token::Purpose;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{User, UserId};
use crate::store::Error;
use crate::store::audit::{Audit, Event};
use crate::store::credentials::Credentials;
use crate::store::dynamodb::{TransactionError, Write};
use crate::store::items::TransactWriteItem;
use crate::store::mailed_tokens::MailedTokens;
use crate::store::two_factor::TwoFactorStore;
use crate::store::users::Users;

/// The number of tries of a removal that meets concurrent changes of the record.
const TRIES: u32 = 3;

/// Removes accounts with an unproven address.
pub struct UnprovenAccounts {
    /// The users' records.
    pub users: Users,
    /// The password hashes.
    pub credentials: Credentials,
    /// The second factors.
    pub two_factor: TwoFactorStore,
    /// The tokens of mails.
    pub mailed_tokens: MailedTokens,
    /// The audit log.
    pub audit: Audit,
}

impl UnprovenAccounts {
    /// Reads `USERS_TABLE`, `CREDENTIALS_TABLE` and the variables of DynamoDB.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            users: Users::from_env(environment),
            credentials: Credentials::from_env(environment),
            two_factor: TwoFactorStore::from_env(environment),
            mailed_tokens: MailedTokens::from_env(environment),
            audit: Audit::from_env(environment),
        }
    }

    /// Removes the account at once, with its password, and releases its address and username for the owner of the
    /// address. Its sessions are invalid without the record. Returns `false` and changes nothing if the account does
    /// not exist (any more), or its address is proven.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer or the record keeps changing, [`Error::Unexpected`] if
    /// DynamoDB refuses or an item cannot be read.
    pub async fn remove(&self, id: UserId, client: &ClientInfo) -> Result<bool, Error> {
        for _ in 0..TRIES {
            let user = self.users.find(id, client.received_at).await?;
            let user = user.filter(|user| user.is_active() && !user.email_verified);
            let Some(user) = user else { return Ok(false) };
            match self.remove_as_read(&user, client).await {
                Ok(()) => return Ok(true),
                Err(TransactionError::Refused(Stale)) => {}
                Err(TransactionError::Store(error)) => return Err(error),
            }
        }
        let cause = "the record kept changing".to_owned();
        Err(Error::Unavailable(cause))
    }

    async fn remove_as_read(
        &self,
        user: &User,
        client: &ClientInfo,
    ) -> Result<(), TransactionError<Stale>> {
        let now = client.received_at;
        let mut items = vec![
            self.users.remove_unverified(user),
            self.users.release_email(&user.email, user.id),
            self.credentials.remove_password(user.id),
        ];
        let username = user.username.iter();
        items.extend(username.map(|username| self.users.release_username(username, user.id)));
        let rejection = user.rejection.iter();
        items.extend(rejection.map(|rejection| self.mailed_tokens.discard_rejection(rejection)));
        items.extend(self.verification_token(user, now).await?);
        items.extend(self.two_factor.remove_all(user.id, now).await?);
        let (events, writes) = ([Event::EmailRejection], Write::all(items, Stale));
        self.audit
            .commit(user.id, &events, client, writes, Stale)
            .await
    }

    /// Returns the removal of the verification token, unless it has expired.
    async fn verification_token(
        &self,
        user: &User,
        now: Timestamp,
    ) -> Result<Option<TransactWriteItem>, Error> {
        let Some(token) = &user.verification_token else {
            return Ok(None);
        };
        let purpose = Purpose::VerifyEmail;
        let found = self.mailed_tokens.find(purpose, token, now).await?;
        Ok(found.map(|_| self.mailed_tokens.remove(purpose, token)))
    }
}
