//! Proof of somebody who is signed in already, asked once more before something that cannot be taken back, or that
//! keeps others out: a recent sign-in, or the password (ASVS 5.0, 7.5.1).

use std::time::Duration;

use super::Request;
use super::authentication::Caller;
use super::lockout::SessionLockout;
use crate::domain::password::Password;
use crate::domain::password_hash::{PasswordHash, PasswordHasher, Verification};
use crate::domain::user::UserId;
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
    pub lockout: SessionLockout,
    /// Where a wrong one is recorded.
    pub audit: Audit,
}

/// What a check needs that a recent sign-in passes as well.
pub struct Reauthentication {
    /// For those whose sign-in is not recent.
    pub password: PasswordCheck,
    /// How long a sign-in counts as recent.
    pub recent: Duration,
}

impl PasswordCheck {
    /// The user's stored hash, if the password is the user's. A wrong one is recorded as a failure of
    /// the event that it was asked for, and counts in the caller's session: strangers who lock the account at
    /// login do not keep its owner from this.
    ///
    /// # Errors
    /// `invalid_credentials` (403), `account_locked`, and those of the stores.
    pub async fn verify(
        &self,
        caller: &Caller,
        password: &Password,
        event: Event,
        request: &Request,
    ) -> Result<PasswordHash, ApiError> {
        let (id, lockout) = (caller.user.id, &self.lockout);
        let attempt = lockout.attempt(id, caller.session_id, request).await?;
        let result = self.compare(id, password, request).await;
        match &result {
            Ok(_) => attempt.forgive(request).await,
            Err(ApiError::SignedInInvalidCredentials) => {
                record_failure(&self.audit, Some(id), event, attempt.locks(), request).await?;
            }
            Err(_) => attempt.take_back(request).await,
        }
        result
    }

    async fn compare(
        &self,
        id: UserId,
        password: &Password,
        request: &Request,
    ) -> Result<PasswordHash, ApiError> {
        let stored = self.credentials.find_password(id, request.received_at());
        let without = || ApiError::Internal("an account without a password".into());
        let stored = stored.await?.ok_or_else(without)?;
        match telemetry::hashing(|| self.hasher.verify(password, &stored))? {
            Verification::Mismatch => Err(ApiError::SignedInInvalidCredentials),
            Verification::Match | Verification::MatchOutdated => Ok(stored),
        }
    }
}

impl Reauthentication {
    /// Lets through who has signed in a moment ago, or gives the password.
    ///
    /// # Errors
    /// `reauthentication_required`, and those of [`PasswordCheck::verify`].
    pub async fn check(
        &self,
        caller: &Caller,
        password: Option<&Password>,
        event: Event,
        request: &Request,
    ) -> Result<(), ApiError> {
        match password {
            Some(password) => {
                let verified = self.password.verify(caller, password, event, request);
                verified.await.map(|_| ())
            }
            None if caller.signed_in_for < self.recent => Ok(()),
            None => Err(ApiError::ReauthenticationRequired),
        }
    }
}

/// Records a wrong password, and that it locks, if it does. The same writes where there is
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
