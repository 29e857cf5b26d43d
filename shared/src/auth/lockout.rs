//! Wrong passwords and wrong codes lock for a while. An attempt is counted before it is compared, and taken back if
//! it was right: of many at once no more than the limit get to be compared.
//!
//! What is locked differs, so that nobody is locked out by others, and nothing is told by it:
//!
//! - a password at login: the text that was typed, by its kind (an address, a username), whether or not it names an
//!   account; and, at a higher number, the account, whatever was typed. A device that the account has signed in from
//!   has a bucket of its own (OWASP, "Slow Down Online Guessing Attacks with Device Cookies");
//! - a password of somebody who is signed in: the session;
//! - a code: the account; and an address from which codes are tried for many accounts.

use crate::config::Environment;
use crate::domain::client_address::ClientAddress;
use crate::domain::client_info::ClientInfo;
use crate::domain::device_token::Device;
use crate::domain::rate_limit::{Limit, Policy, Quota};
use crate::domain::session::SessionId;
use crate::domain::user::{User, UserId};
use crate::error::ApiError;
use crate::store::audit::{self, Event, Outcome};
use crate::store::rate_limiter::{Counter, RateLimiter, Subject, TextHash, TextHasher, Verdict};
use crate::telemetry;

/// What a password is tried for.
#[derive(Clone, Debug)]
pub struct Target {
    /// What was typed.
    pub typed: TextHash,
    /// The account that it names; where there is none, it locks all the same.
    pub user_id: Option<UserId>,
    /// The device that the account has signed in from before.
    pub device: Option<Device>,
}

/// Counts wrong passwords at login. `None`: there is no limit.
pub struct LoginLockout {
    limiter: RateLimiter,
    /// Hashes the identifier that was typed.
    pub hasher: TextHasher,
    /// Of an identifier, or of a device.
    policy: Option<Policy>,
    /// Of an account, whatever identifier was typed.
    account_policy: Option<Policy>,
}

/// Counts wrong passwords of those who are signed in. `None`: there is no limit.
pub struct SessionLockout {
    limiter: RateLimiter,
    /// Of a session.
    policy: Option<Policy>,
}

/// Counts wrong codes. `None`: there is no limit.
pub struct CodeLockout {
    limiter: RateLimiter,
    /// Of an account, and of accounts from an address.
    policy: Option<Policy>,
}

/// An attempt that was counted as a failure until it turns out to be none.
pub struct Attempt {
    limiter: RateLimiter,
    /// The first one is what locks.
    counters: Vec<Counter>,
    /// What a success clears; of the other counters it only takes itself back.
    cleared: Vec<Counter>,
    locks: bool,
}

impl Attempt {
    fn new(limiter: &RateLimiter, counters: Vec<Counter>, cleared: Vec<Counter>) -> Self {
        Self {
            limiter: limiter.clone(),
            counters,
            cleared,
            locks: false,
        }
    }

    /// Whether this failure is the one that locks.
    pub fn locks(&self) -> bool {
        self.locks
    }

    /// It was no failure, but nothing is forgiven by it.
    pub async fn take_back(&self, client: &ClientInfo) {
        let id = &client.request_id;
        self.limiter.take_back(id, &self.counters).await;
    }

    /// It was a success: the failures before it are forgiven.
    pub async fn forgive(&self, client: &ClientInfo) {
        tokio::join!(clear(&self.limiter, &self.cleared), self.take_back(client));
    }

    async fn count(self, user_id: Option<UserId>, client: &ClientInfo) -> Result<Self, ApiError> {
        if self.counters.is_empty() {
            return Ok(self);
        }
        match self
            .limiter
            .count(&client.request_id, &self.counters)
            .await?
        {
            Verdict::Passes(quotas) => Ok(Self {
                locks: quotas.first().is_some_and(|quota| quota.remaining == 0),
                ..self
            }),
            Verdict::Refused(quotas) => {
                telemetry::count("LockedOut", &[]);
                audit::log(user_id, Event::LockedAttempt, Outcome::Failure, client);
                let quota = Quota::tightest(&quotas);
                let quota = quota.ok_or_else(|| ApiError::Internal("locked by no limit".into()))?;
                Err(ApiError::AccountLocked(Box::new(quota)))
            }
        }
    }
}

/// Reads the limit of a lockout.
fn policy(
    environment: &mut Environment,
    variable: &str,
    default: &str,
    name: &str,
) -> Option<Policy> {
    let limit = environment.limit(variable, Limit::parse(default).flatten())?;
    let name = name.to_owned();
    Some(Policy { name, limit })
}

impl LoginLockout {
    /// Reads `LOGIN_LOCKOUT`, `ACCOUNT_LOCKOUT` and `GUARD_SECRET`.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            limiter: RateLimiter::from_env(environment),
            hasher: TextHasher::new(&environment.secret("GUARD_SECRET")),
            policy: policy(environment, "LOGIN_LOCKOUT", "5/15m", "login-lockout"),
            account_policy: policy(environment, "ACCOUNT_LOCKOUT", "20/15m", "account-lockout"),
        }
    }

    /// Counts an attempt at a password.
    ///
    /// # Errors
    /// `account_locked`, and those of the store.
    pub async fn attempt(&self, target: &Target, client: &ClientInfo) -> Result<Attempt, ApiError> {
        let typed = || Subject::Text(target.typed.clone());
        let counters: Vec<Counter> = match target.device {
            Some(device) => {
                let subject = Subject::Device(device.user_id, device.id);
                let policy = self.policy.iter();
                policy
                    .map(|policy| Counter::login_failures(policy, &subject))
                    .collect()
            }
            None => {
                let account = target.user_id.map_or_else(typed, Subject::User);
                let by_text = self.policy.iter();
                let by_text = by_text.map(|policy| Counter::login_failures(policy, &typed()));
                let by_account = self.account_policy.iter();
                let by_account =
                    by_account.map(|policy| Counter::account_failures(policy, &account));
                by_text.chain(by_account).collect()
            }
        };
        let attempt = Attempt::new(&self.limiter, counters.clone(), counters);
        attempt.count(target.user_id, client).await
    }

    /// The owner has set a new password: the failures with the old one are forgiven.
    pub async fn forgive_all(&self, user: &User) {
        let email = Some(self.hasher.email(&user.email));
        let username = user.username.as_ref();
        let username = username.map(|username| self.hasher.username(username));
        let typed = email.into_iter().chain(username).map(Subject::Text);
        let by_text = self.policy.iter().flat_map(|policy| {
            let typed = typed.clone();
            typed.map(|subject| Counter::login_failures(policy, &subject))
        });
        let account = Subject::User(user.id);
        let by_account = self.account_policy.iter();
        let by_account = by_account.map(|policy| Counter::account_failures(policy, &account));
        let counters: Vec<Counter> = by_text.chain(by_account).collect();
        clear(&self.limiter, &counters).await;
    }
}

impl SessionLockout {
    /// Reads `LOGIN_LOCKOUT`.
    pub fn from_env(environment: &mut Environment) -> Self {
        let name = "reauthentication-lockout";
        Self {
            limiter: RateLimiter::from_env(environment),
            policy: policy(environment, "LOGIN_LOCKOUT", "5/15m", name),
        }
    }

    /// Counts an attempt at the password of somebody who is signed in.
    ///
    /// # Errors
    /// `account_locked`, and those of the store.
    pub async fn attempt(
        &self,
        user_id: UserId,
        session_id: SessionId,
        client: &ClientInfo,
    ) -> Result<Attempt, ApiError> {
        let subject = Subject::Session(user_id, session_id);
        let policy = self.policy.iter();
        let counters: Vec<Counter> = policy
            .map(|policy| Counter::reauthentication_failures(policy, &subject))
            .collect();
        let attempt = Attempt::new(&self.limiter, counters.clone(), counters);
        attempt.count(Some(user_id), client).await
    }
}

impl CodeLockout {
    /// Reads `TWO_FACTOR_LOCKOUT`.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            limiter: RateLimiter::from_env(environment),
            policy: policy(
                environment,
                "TWO_FACTOR_LOCKOUT",
                "10/15m",
                "two-factor-lockout",
            ),
        }
    }

    /// Counts an attempt at a code. Of somebody who is not signed in, the address is counted with the accounts that
    /// it tries codes for: wrong codes of one account lock no neighbour.
    ///
    /// # Errors
    /// `account_locked`, and those of the store.
    pub async fn attempt(
        &self,
        user_id: UserId,
        is_signed_in: bool,
        client: &ClientInfo,
    ) -> Result<Attempt, ApiError> {
        let Some(policy) = &self.policy else {
            return Ok(Attempt::new(&self.limiter, Vec::new(), Vec::new()));
        };
        let account = Counter::two_factor_failures(policy, &Subject::User(user_id));
        let address = ClientAddress::parse(&client.ip).filter(|_| !is_signed_in);
        let by_address = address.map(|address| {
            let subject = Subject::Client(address);
            Counter::two_factor_failures(policy, &subject).of_accounts(user_id)
        });
        let cleared = vec![account.clone()];
        let counters = std::iter::once(account).chain(by_address).collect();
        let attempt = Attempt::new(&self.limiter, counters, cleared);
        attempt.count(Some(user_id), client).await
    }
}

/// Best effort: what stays counted goes with the window.
async fn clear(limiter: &RateLimiter, counters: &[Counter]) {
    if let Err(error) = limiter.clear(counters).await {
        tracing::warn!(cause = %error, "failures stay counted");
    }
}
