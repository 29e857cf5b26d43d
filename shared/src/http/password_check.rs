//! The password of somebody who is signed in already, asked once more before something that cannot be
//! taken back.

use super::Request;
use crate::domain::password::Password;
use crate::domain::password_hash::{PasswordHash, PasswordHasher, Verification};
use crate::domain::user::User;
use crate::error::ApiError;
use crate::store::audit::{Audit, Event, Outcome};
use crate::store::credentials::Credentials;
use crate::telemetry;

/// What a check needs.
pub struct PasswordCheck<'a> {
    /// Where the hashes are.
    pub credentials: &'a Credentials,
    /// What compares them.
    pub hasher: &'a PasswordHasher,
    /// Where a wrong password is recorded.
    pub audit: &'a Audit,
}

impl PasswordCheck<'_> {
    /// The user's stored hash, if the password is the user's. A wrong one is recorded as a failure of
    /// the event that it was asked for.
    ///
    /// # Errors
    /// `invalid_credentials`, and those of the stores.
    pub async fn verify(
        &self,
        user: &User,
        password: &Password,
        event: Event,
        request: &Request,
    ) -> Result<PasswordHash, ApiError> {
        let now = request.received_at();
        let stored = self.credentials.find_password(user.id, now).await?;
        let without = || ApiError::Internal("an account without a password".into());
        let stored = stored.ok_or_else(without)?;
        let verification = telemetry::hashing(|| self.hasher.verify(password, &stored))?;
        if verification == Verification::Mismatch {
            let (failure, origin) = (Outcome::Failure, request.origin());
            self.audit.record(user.id, event, failure, origin).await?;
            return Err(ApiError::InvalidCredentials);
        }
        Ok(stored)
    }
}
