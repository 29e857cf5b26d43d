//! Lockout: too many wrong passwords or codes lock for a while. An attempt is counted before the comparison, and taken
//! back if it was right: so no more parallel attempts than the limit allows are ever compared.
//!
//! The locked subject differs, so that nobody can lock out others and a lockout reveals nothing:
//!
//! - a password at sign-in: the identifier as typed, by its kind (an address, a username), whether or not it names an
//!   account; and, at a higher limit, the account, whichever identifier was typed. A device from which the user has
//!   signed in has a counter of its own (OWASP, "Slow Down Online Guessing Attacks with Device Cookies");
//! - a password of a signed-in user: the session;
//! - a mailed code: the address;
//! - a code: the account, and a client address that tries codes for many accounts.

use crate::config::Environment;
use crate::domain::client_address::ClientAddress;
use crate::domain::client_info::ClientInfo;
use crate::domain::device_token::Device;
use crate::domain::duration::days;
use crate::domain::email_address::EmailAddress;
use crate::domain::rate_limit::{Limit, Policy, Quota};
use crate::domain::session::SessionId;
use crate::domain::user::{User, UserId};
use crate::error::ApiError;
use crate::store::audit::{self, Event, Outcome};
use crate::store::rate_limiter::{Counter, RateLimiter, Subject, TextHash, TextHasher, Verdict};
use crate::telemetry;

/// The subject of an attempt at a password.
#[derive(Clone, Debug)]
pub struct Target {
    /// The hash of the identifier typed.
    pub typed: TextHash,
    /// The account with that identifier; an identifier without an account is locked as well.
    pub user_id: Option<UserId>,
    /// The device, if the user has signed in from it before.
    pub device: Option<Device>,
}

/// Counts wrong passwords at sign-in. A policy of `None` means no limit.
pub struct LoginLockout {
    limiter: RateLimiter,
    /// Hashes the identifier typed.
    pub hasher: TextHasher,
    /// The policy of an identifier, or of a device.
    policy: Option<Policy>,
    /// The policy of an account, whichever identifier was typed.
    account_policy: Option<Policy>,
}

/// Counts wrong passwords of signed-in users. A policy of `None` means no limit.
pub struct SessionLockout {
    limiter: RateLimiter,
    /// The policy of a session.
    policy: Option<Policy>,
}

/// Counts wrong codes. A policy of `None` means no limit.
pub struct CodeLockout {
    limiter: RateLimiter,
    /// The policy of an account, and of the number of accounts per client address.
    policy: Option<Policy>,
}

/// Counts wrong mailed codes of an address. Five tries at each code do not bound the guesses at many codes.
pub struct MailedCodeLockout {
    limiter: RateLimiter,
    hasher: TextHasher,
    policy: Policy,
}

/// An attempt, counted as a failure until it succeeds.
pub struct Attempt {
    limiter: RateLimiter,
    /// The counters; the first one decides whether the attempt locks.
    counters: Vec<Counter>,
    /// The counters that a success clears; on the others it only takes its own charge back.
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

    /// Returns whether this failure causes the lockout.
    pub fn locks(&self) -> bool {
        self.locks
    }

    /// Takes the attempt back without clearing earlier failures.
    pub async fn take_back(&self, client: &ClientInfo) {
        let id = &client.request_id;
        self.limiter.take_back(id, &self.counters).await;
    }

    /// Marks the attempt as successful: clears the earlier failures.
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

/// Reads the policy of a lockout.
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
    /// `account_locked`, and `service_unavailable` or `internal_error` if the store fails.
    pub async fn attempt(&self, target: &Target, client: &ClientInfo) -> Result<Attempt, ApiError> {
        let counters = self.counters(target);
        let attempt = Attempt::new(&self.limiter, counters.clone(), counters);
        attempt.count(target.user_id, client).await
    }

    /// The counters of an attempt: a known device's own, or else those of the typed identifier and of the account.
    fn counters(&self, target: &Target) -> Vec<Counter> {
        let typed = || Subject::Text(target.typed.clone());
        match target.device {
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
        }
    }

    /// Clears the failures of a user who has set a new password.
    pub async fn clear_all_failures(&self, user: &User) {
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

    /// Counts an attempt at the password of a signed-in user.
    ///
    /// # Errors
    /// `account_locked`, and `service_unavailable` or `internal_error` if the store fails.
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

    /// Counts an attempt at a code. For a user who is not signed in, also counts the accounts for which the client's
    /// address tries codes. It counts accounts, so that wrong codes for one account do not lock neighbours at the same
    /// address.
    ///
    /// # Errors
    /// `account_locked`, and `service_unavailable` or `internal_error` if the store fails.
    pub async fn attempt(
        &self,
        user_id: UserId,
        is_signed_in: bool,
        client: &ClientInfo,
    ) -> Result<Attempt, ApiError> {
        let (counters, cleared) = self.counters(user_id, is_signed_in, client);
        let attempt = Attempt::new(&self.limiter, counters, cleared);
        attempt.count(Some(user_id), client).await
    }

    /// The counters of an attempt, and those that a success clears.
    fn counters(
        &self,
        user_id: UserId,
        is_signed_in: bool,
        client: &ClientInfo,
    ) -> (Vec<Counter>, Vec<Counter>) {
        let Some(policy) = &self.policy else {
            return (Vec::new(), Vec::new());
        };
        let account = Counter::two_factor_failures(policy, &Subject::User(user_id));
        let address = ClientAddress::parse(&client.ip).filter(|_| !is_signed_in);
        let by_address = address.map(|address| {
            let subject = Subject::Client(address);
            Counter::two_factor_failures(policy, &subject).of_accounts(user_id)
        });
        let cleared = vec![account.clone()];
        let counters = std::iter::once(account).chain(by_address).collect();
        (counters, cleared)
    }
}

/// Clears counters. Best effort: counts that stay expire with the window.
async fn clear(limiter: &RateLimiter, counters: &[Counter]) {
    if let Err(error) = limiter.clear(counters).await {
        tracing::warn!(cause = %error, "failures stay counted");
    }
}

impl MailedCodeLockout {
    /// Thirty wrong codes a day: who tries without an end finds one of a million with a chance of one percent a year.
    const LIMIT: Limit = Limit {
        max: 30,
        window: days(1),
    };

    /// Reads `EMAIL_TOKEN_SECRET` and the variables of Redis.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            limiter: RateLimiter::from_env(environment),
            hasher: TextHasher::new(&environment.secret("EMAIL_TOKEN_SECRET")),
            policy: Policy {
                name: "mailed-code-lockout".to_owned(),
                limit: Self::LIMIT,
            },
        }
    }

    /// Counts an attempt at a code of this address.
    ///
    /// # Errors
    /// `account_locked`, and `service_unavailable` or `internal_error` if the store fails.
    pub async fn attempt(
        &self,
        address: &EmailAddress,
        client: &ClientInfo,
    ) -> Result<Attempt, ApiError> {
        let subject = Subject::Text(self.hasher.email(address));
        let counters = vec![Counter::mailed_code_failures(&self.policy, &subject)];
        let attempt = Attempt::new(&self.limiter, counters.clone(), counters);
        attempt.count(None, client).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::email_address::EmailAddress;
    use crate::domain::id::Id;
    use crate::domain::rule::Parse;
    use crate::domain::timestamp::Timestamp;

    fn environment(lockout: &str) -> Environment {
        Environment::of(&[
            ("GUARD_SECRET", "a secret of thirty-two bytes: one"),
            ("REDIS_URL", "redis://127.0.0.1:9"),
            ("LOGIN_LOCKOUT", lockout),
            ("ACCOUNT_LOCKOUT", lockout),
            ("TWO_FACTOR_LOCKOUT", lockout),
        ])
    }

    fn user() -> UserId {
        Id::new(Timestamp::from_milliseconds(0), [7; 16])
    }

    fn client() -> ClientInfo {
        ClientInfo {
            ip: "203.0.113.7".to_owned(),
            ..ClientInfo::none(Timestamp::from_milliseconds(0))
        }
    }

    fn keys(counters: &[Counter]) -> Vec<&str> {
        counters.iter().map(Counter::key).collect()
    }

    fn target(lockout: &LoginLockout, user_id: Option<UserId>, device: Option<Device>) -> Target {
        let email = EmailAddress::parse("ada@example.com").unwrap();
        Target {
            typed: lockout.hasher.email(&email),
            user_id,
            device,
        }
    }

    #[test]
    fn an_attempt_counts_under_the_typed_identifier_and_under_the_account() {
        let lockout = LoginLockout::from_env(&mut environment(""));

        let known = lockout.counters(&target(&lockout, Some(user()), None));
        let unknown = lockout.counters(&target(&lockout, None, None));

        let (known, unknown) = (keys(&known), keys(&unknown));
        assert_eq!(
            known[0], unknown[0],
            "whether there is an account, does not show"
        );
        assert_eq!(known[1], format!("account_failures:{{{}}}", user()));
        assert_eq!((known.len(), unknown.len()), (2, 2));
        assert!(!known[0].contains("ada"), "no address is readable in a key");
    }

    #[test]
    fn a_known_device_has_a_counter_of_its_own() {
        let lockout = LoginLockout::from_env(&mut environment(""));
        let device = Device {
            id: Id::new(Timestamp::from_milliseconds(0), [9; 16]),
            user_id: user(),
        };

        let counters = lockout.counters(&target(&lockout, Some(user()), Some(device)));

        let expected = format!("login_failures:{{{}}}:{}", user(), device.id);
        assert_eq!(keys(&counters), [expected.as_str()]);
    }

    #[test]
    fn a_code_of_a_signed_in_user_does_not_count_under_the_address() {
        let lockout = CodeLockout::from_env(&mut environment(""));
        let (account, address) = (
            format!("two_factor_failures:{{{}}}", user()),
            "two_factor_failures:{203.0.113.7}",
        );

        let (at_login, cleared) = lockout.counters(user(), false, &client());
        let (signed_in, _) = lockout.counters(user(), true, &client());

        assert_eq!(keys(&at_login), [account.as_str(), address]);
        assert_eq!(keys(&signed_in), [account.as_str()]);
        assert_eq!(
            keys(&cleared),
            [account.as_str()],
            "a success clears no neighbour's"
        );
    }

    #[test]
    fn a_lockout_that_is_off_counts_nothing() {
        let login = LoginLockout::from_env(&mut environment("off"));
        let codes = CodeLockout::from_env(&mut environment("off"));

        assert!(
            login
                .counters(&target(&login, Some(user()), None))
                .is_empty()
        );
        assert!(codes.counters(user(), false, &client()).0.is_empty());
    }
}
