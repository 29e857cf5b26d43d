//! The password of somebody who is signed in already, asked once more before something that cannot be
//! taken back.

use super::Request;
use super::lockout::{Account, Lockout};
use crate::domain::password::Password;
use crate::domain::password_hash::{PasswordHash, PasswordHasher, Verification};
use crate::domain::user::{User, UserId};
use crate::error::ApiError;
use crate::store::Error;
use crate::store::audit::{Audit, Event, Outcome};
use crate::store::credentials::Credentials;
use crate::telemetry;

/// What a check needs.
pub struct PasswordCheck {
    /// Where the hashes are.
    pub credentials: Credentials,
    /// What compares them.
    pub hasher: PasswordHasher,
    /// What counts wrong ones.
    pub lockout: Lockout,
    /// Where a wrong one is recorded.
    pub audit: Audit,
}

impl PasswordCheck {
    /// The user's stored hash, if the password is the user's. A wrong one is recorded as a failure of
    /// the event that it was asked for, and counts like one at login.
    ///
    /// # Errors
    /// `invalid_credentials`, `account_locked`, and those of the stores.
    pub async fn verify(
        &self,
        user: &User,
        password: &Password,
        event: Event,
        request: &Request,
    ) -> Result<PasswordHash, ApiError> {
        let account = Account::Known(user.id);
        let attempt = self.lockout.attempt(&account, None, request).await?;
        let result = self.compare(user, password, request).await;
        match &result {
            Ok(_) => self.lockout.forgive(&attempt, request).await,
            Err(ApiError::InvalidCredentials) => {
                record_failure(&self.audit, Some(user.id), event, attempt.locks(), request).await?;
            }
            Err(_) => self.lockout.take_back(&attempt, request).await,
        }
        result
    }

    async fn compare(
        &self,
        user: &User,
        password: &Password,
        request: &Request,
    ) -> Result<PasswordHash, ApiError> {
        let stored = self
            .credentials
            .find_password(user.id, request.received_at());
        let without = || ApiError::Internal("an account without a password".into());
        let stored = stored.await?.ok_or_else(without)?;
        match telemetry::hashing(|| self.hasher.verify(password, &stored))? {
            Verification::Mismatch => Err(ApiError::InvalidCredentials),
            Verification::Match | Verification::MatchOutdated => Ok(stored),
        }
    }
}

/// Records a wrong password, and that it locks the account, if it does. The same writes where there is
/// no user, so that time tells nobody (ASVS 5.0, 6.3.8).
///
/// # Errors
/// Those of the store.
pub async fn record_failure(
    audit: &Audit,
    user_id: Option<UserId>,
    event: Event,
    locks: bool,
    request: &Request,
) -> Result<(), Error> {
    let origin = request.origin();
    let lock = locks.then_some(Event::AccountLock);
    if locks {
        telemetry::count("Lockouts", &[]);
    }
    for event in std::iter::once(event).chain(lock) {
        match user_id {
            Some(id) => audit.record(id, event, Outcome::Failure, origin).await?,
            None => {
                audit
                    .record_unknown(event, Outcome::Failure, origin)
                    .await?
            }
        }
    }
    Ok(())
}
