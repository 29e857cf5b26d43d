//! Wrong passwords lock an account for a while, whoever tries them and from wherever. An attempt is
//! counted before its password is compared, and taken back if it was right: of many at once no more
//! than the limit get to be compared.

use super::Request;
use crate::domain::device_token::Device;
use crate::domain::rate_limit::{Policy, Quota};
use crate::domain::user::UserId;
use crate::error::ApiError;
use crate::store::audit::{self, Event, Outcome};
use crate::store::rate_limiter::{Counter, RateLimiter, Subject, TextHash, Verdict};
use crate::telemetry;

/// The account that a password is tried for.
#[derive(Clone, Debug)]
pub enum Account {
    /// One that there is.
    Known(UserId),
    /// What was typed where there is none: it locks all the same.
    Unknown(TextHash),
}

/// Counts wrong passwords. `None`: there is no limit.
pub struct Lockout {
    limiter: RateLimiter,
    policy: Option<Policy>,
}

/// An attempt that was counted as a failure until it turns out to be none.
#[derive(Debug)]
pub struct Attempt(Option<(Counter, Quota)>);

impl Attempt {
    /// Whether this failure is the one that locks.
    pub fn locks(&self) -> bool {
        matches!(&self.0, Some((_, quota)) if quota.remaining == 0)
    }
}

impl Lockout {
    /// With this limit.
    pub fn new(limiter: RateLimiter, policy: Option<Policy>) -> Self {
        Self { limiter, policy }
    }

    /// Counts an attempt. That of a device which has signed in before has a bucket of its own.
    ///
    /// # Errors
    /// `account_locked`, and those of the store.
    pub async fn attempt(
        &self,
        account: &Account,
        device: Option<Device>,
        request: &Request,
    ) -> Result<Attempt, ApiError> {
        let Some(policy) = &self.policy else {
            return Ok(Attempt(None));
        };
        let subject = match (account, device) {
            (Account::Known(_), Some(device)) => Subject::Device(device.user_id, device.id),
            (Account::Known(id), None) => Subject::User(*id),
            (Account::Unknown(hash), _) => Subject::Text(hash.clone()),
        };
        let counter = Counter::login_failures(policy, &subject);
        let id = &request.origin().request_id;
        let verdict = self.limiter.count(id, std::slice::from_ref(&counter));
        match verdict.await? {
            Verdict::Passes(mut quotas) => Ok(Attempt(quotas.pop().map(|quota| (counter, quota)))),
            Verdict::Refused(mut quotas) => {
                telemetry::count("LockedOut", &[]);
                let user_id = match account {
                    Account::Known(id) => Some(*id),
                    Account::Unknown(_) => None,
                };
                let (event, origin) = (Event::LockedAttempt, request.origin());
                audit::log(user_id, event, Outcome::Failure, origin);
                let quota = quotas.pop();
                let quota = quota.ok_or_else(|| ApiError::Internal("locked by no limit".into()))?;
                Err(ApiError::AccountLocked(Box::new(quota)))
            }
        }
    }

    /// The attempt was no failure, but nothing is forgiven by it.
    pub async fn take_back(&self, attempt: &Attempt, request: &Request) {
        if let Some((counter, _)) = &attempt.0 {
            let id = &request.origin().request_id;
            self.limiter.take_back(id, [counter]).await;
        }
    }

    /// The attempt was a success: the failures before it are forgiven.
    pub async fn forgive(&self, attempt: &Attempt) {
        if let Some((counter, _)) = &attempt.0 {
            self.clear(counter).await;
        }
    }

    /// The owner has set a new password: the failures with the old one are forgiven.
    pub async fn forgive_all(&self, user_id: UserId) {
        if let Some(policy) = &self.policy {
            let counter = Counter::login_failures(policy, &Subject::User(user_id));
            self.clear(&counter).await;
        }
    }

    /// Best effort: what stays counted goes with the window.
    async fn clear(&self, counter: &Counter) {
        if let Err(error) = self.limiter.clear(counter).await {
            tracing::warn!(cause = %error, "failures stay counted");
        }
    }
}
