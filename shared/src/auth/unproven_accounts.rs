//! Accounts with an unproven address: their removal at the request of the owner of the address, and the proof by a mailed
//! code.

use super::retry::Stale;
use crate::config::Environment;
use crate::domain::client_info::ClientInfo;
use crate::domain::email_token::Purpose;
use crate::domain::password_hash::PasswordHash;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{User, UserId};
use crate::error::ApiError;
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

    /// Creates an account whose address is proven, with a password that nobody has.
    ///
    /// # Errors
    /// `service_unavailable` if the address was registered meanwhile or the store does not answer, `internal_error` if it
    /// refuses.
    pub async fn create_proven(
        &self,
        user: &User,
        unusable: &PasswordHash,
        client: &ClientInfo,
    ) -> Result<(), ApiError> {
        let now = client.received_at;
        let items = [
            self.users.claim_email(user, now),
            self.users.create(user),
            self.credentials.create_password(user, unusable, now),
        ];
        let (events, writes) = ([Event::Register], Write::all(items, Stale));
        let committed = self.audit.commit(user.id, &events, client, writes, Stale);
        Ok(committed.await?)
    }

    /// Proves the address for its owner. With `unusable`, somebody else may have registered the account: the password
    /// is replaced by that hash, which nobody's password has, and all settings and sessions are removed.
    ///
    /// # Errors
    /// `service_unavailable` if the record was changed meanwhile or the store does not answer, `internal_error` if it
    /// refuses.
    pub async fn prove(
        &self,
        user: &User,
        unusable: Option<&PasswordHash>,
        client: &ClientInfo,
    ) -> Result<(), ApiError> {
        let (id, now) = (user.id, client.received_at);
        let mut items = vec![
            self.users.prove_address(user, unusable.is_some(), now),
            self.users.keep_email(user),
        ];
        let rejection = user.rejection.iter();
        items.extend(rejection.map(|rejection| self.mailed_tokens.discard_rejection(rejection)));
        let username = user.username.as_ref();
        match unusable {
            Some(hash) => {
                items.push(self.credentials.reset_password(id, hash, now));
                items.extend(username.map(|username| self.users.release_username(username, id)));
                items.extend(self.two_factor.remove_all(id, now).await?);
            }
            None => {
                items.push(self.credentials.keep_password(id));
                items.extend(username.map(|username| self.users.keep_username(username, id)));
            }
        }
        let (events, writes) = ([Event::EmailVerification], Write::all(items, Stale));
        let committed = self.audit.commit(id, &events, client, writes, Stale);
        Ok(committed.await?)
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
