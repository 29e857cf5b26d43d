//! Reauthentication: a recent sign-in or the password, required of a signed-in user before an action that cannot be
//! undone, or that locks others out (ASVS 5.0, 7.5.1).

use std::time::Duration;

use super::authentication::Caller;
use super::lockout::SessionLockout;
use crate::config::Environment;
use crate::domain::client_info::ClientInfo;
use crate::domain::duration::minutes;
use crate::domain::password::Password;
use crate::domain::password_hash::{PasswordHash, PasswordHasher, Verification};
use crate::domain::user::UserId;
use crate::error::ApiError;
use crate::store::Error;
use crate::store::audit::{Audit, Event, Outcome};
use crate::store::credentials::Credentials;
use crate::telemetry;

/// Checks the password of a signed-in user.
pub struct PasswordCheck {
    credentials: Credentials,
    /// The hasher; it keeps the memory of a hash, so a function needs only one.
    pub hasher: PasswordHasher,
    lockout: SessionLockout,
    audit: Audit,
}

/// Accepts a recent sign-in, or else the password.
pub struct Reauthentication {
    password: PasswordCheck,
    /// The time for which a sign-in counts as recent.
    recent: Duration,
}

impl PasswordCheck {
    /// Reads the variables of the hasher, the lockout and both tables.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            credentials: Credentials::from_env(environment),
            hasher: PasswordHasher::from_env(environment),
            lockout: SessionLockout::from_env(environment),
            audit: Audit::from_env(environment),
        }
    }

    /// Returns the user's stored hash if the password is right. A wrong password is recorded as a failure of `event`,
    /// and counts against the caller's session: strangers who lock the account at sign-in do not block its owner here.
    ///
    /// # Errors
    /// `invalid_credentials` (403), `account_locked`, and `service_unavailable` or `internal_error` if a store fails.
    pub async fn verify(
        &self,
        caller: &Caller,
        password: &Password,
        event: Event,
        client: &ClientInfo,
    ) -> Result<PasswordHash, ApiError> {
        let (id, lockout) = (caller.user.id, &self.lockout);
        let attempt = lockout.attempt(id, caller.session_id, client).await?;
        let result = self.compare(id, password, client).await;
        match &result {
            Ok(_) => attempt.forgive(client).await,
            Err(ApiError::SignedInInvalidCredentials) => {
                record_failure(&self.audit, Some(id), event, attempt.locks(), client).await?;
            }
            Err(_) => attempt.take_back(client).await,
        }
        result
    }

    async fn compare(
        &self,
        id: UserId,
        password: &Password,
        client: &ClientInfo,
    ) -> Result<PasswordHash, ApiError> {
        let stored = self.credentials.find_password(id, client.received_at);
        let without = || ApiError::Internal("an account without a password".into());
        let stored = stored.await?.ok_or_else(without)?;
        match telemetry::hashing(|| self.hasher.verify(password, &stored))? {
            Verification::Mismatch => Err(ApiError::SignedInInvalidCredentials),
            Verification::Match | Verification::MatchOutdated => Ok(stored),
        }
    }
}

impl Reauthentication {
    /// Reads `RECENT_SIGN_IN` and the variables of [`PasswordCheck`].
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            password: PasswordCheck::from_env(environment),
            recent: environment.duration("RECENT_SIGN_IN", minutes(10)),
        }
    }

    /// Accepts a caller who signed in recently, or who sends the password.
    ///
    /// # Errors
    /// `reauthentication_required`, and those of [`PasswordCheck::verify`].
    pub async fn check(
        &self,
        caller: &Caller,
        password: Option<&Password>,
        event: Event,
        client: &ClientInfo,
    ) -> Result<(), ApiError> {
        match password {
            Some(password) => {
                let verified = self.password.verify(caller, password, event, client);
                verified.await.map(|_| ())
            }
            None if caller.signed_in_for < self.recent => Ok(()),
            None => Err(ApiError::ReauthenticationRequired),
        }
    }
}

/// Records a wrong password, and the lockout if it causes one. Without a user it makes the same writes, so that the
/// time reveals nothing (ASVS 5.0, 6.3.8).
///
/// # Errors
/// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses.
pub async fn record_failure(
    audit: &Audit,
    user_id: Option<UserId>,
    event: Event,
    locks: bool,
    client: &ClientInfo,
) -> Result<(), Error> {
    let lock = locks.then_some(Event::AccountLock);
    if locks {
        telemetry::count("Lockouts", &[]);
    }
    for event in std::iter::once(event).chain(lock) {
        match user_id {
            Some(id) => audit.record(id, event, Outcome::Failure, client).await?,
            None => {
                audit
                    .record_unknown(event, Outcome::Failure, client)
                    .await?
            }
        }
    }
    Ok(())
}
