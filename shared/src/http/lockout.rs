//! Wrong passwords and wrong codes lock an account for a while, whoever tries them and from wherever. An
//! attempt is counted before it is compared, and taken back if it was right: of many at once no more
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

/// Counts failures. `None`: there is no limit.
pub struct Lockout {
    limiter: RateLimiter,
    policy: Option<Policy>,
}

/// An attempt that was counted as a failure until it turns out to be none.
#[derive(Debug, Default)]
pub struct Attempt {
    /// Of the account; a success forgives it the failures before.
    account: Option<Counter>,
    /// Of the client; a success of its own account must not forgive it those at others'.
    client: Option<Counter>,
    locks: bool,
}

impl Attempt {
    /// Whether this failure is the one that locks.
    pub fn locks(&self) -> bool {
        self.locks
    }

    fn counters(&self) -> impl Iterator<Item = &Counter> {
        self.account.iter().chain(&self.client)
    }
}

impl Lockout {
    /// With this limit.
    pub fn new(limiter: RateLimiter, policy: Option<Policy>) -> Self {
        Self { limiter, policy }
    }

    /// Counts an attempt at a password. That of a device which has signed in before has a bucket of its
    /// own.
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
            return Ok(Attempt::default());
        };
        let (subject, user_id) = match (account, device) {
            (Account::Known(id), Some(device)) => {
                (Subject::Device(device.user_id, device.id), Some(*id))
            }
            (Account::Known(id), None) => (Subject::User(*id), Some(*id)),
            (Account::Unknown(hash), _) => (Subject::Text(hash.clone()), None),
        };
        let attempt = Attempt {
            account: Some(Counter::login_failures(policy, &subject)),
            ..Attempt::default()
        };
        self.count(attempt, user_id, request).await
    }

    /// Counts an attempt at a code of the second factor, of the account and of the client.
    ///
    /// # Errors
    /// `account_locked`, and those of the store.
    pub async fn attempt_code(
        &self,
        user_id: UserId,
        request: &Request,
    ) -> Result<Attempt, ApiError> {
        let Some(policy) = &self.policy else {
            return Ok(Attempt::default());
        };
        let client = request.client().map(Subject::Client);
        let counter = |subject: &Subject| Counter::two_factor_failures(policy, subject);
        let attempt = Attempt {
            account: Some(counter(&Subject::User(user_id))),
            client: client.as_ref().map(counter),
            locks: false,
        };
        self.count(attempt, Some(user_id), request).await
    }

    async fn count(
        &self,
        attempt: Attempt,
        user_id: Option<UserId>,
        request: &Request,
    ) -> Result<Attempt, ApiError> {
        let origin = request.origin();
        let counters: Vec<Counter> = attempt.counters().cloned().collect();
        match self.limiter.count(&origin.request_id, &counters).await? {
            Verdict::Passes(quotas) => Ok(Attempt {
                // The first is the account's.
                locks: quotas.first().is_some_and(|quota| quota.remaining == 0),
                ..attempt
            }),
            Verdict::Refused(quotas) => {
                telemetry::count("LockedOut", &[]);
                audit::log(user_id, Event::LockedAttempt, Outcome::Failure, origin);
                let quota = Quota::tightest(&quotas);
                let quota = quota.ok_or_else(|| ApiError::Internal("locked by no limit".into()))?;
                Err(ApiError::AccountLocked(Box::new(quota)))
            }
        }
    }

    /// The attempt was no failure, but nothing is forgiven by it.
    pub async fn take_back(&self, attempt: &Attempt, request: &Request) {
        let id = &request.origin().request_id;
        self.limiter.take_back(id, attempt.counters()).await;
    }

    /// The attempt was a success: the account's failures before it are forgiven.
    pub async fn forgive(&self, attempt: &Attempt, request: &Request) {
        let id = &request.origin().request_id;
        let forgive = async {
            if let Some(counter) = &attempt.account {
                self.clear(counter).await;
            }
        };
        tokio::join!(forgive, self.limiter.take_back(id, &attempt.client));
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
