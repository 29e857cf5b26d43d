//! The rate limits of an endpoint, and the charges of one request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Environment;
use crate::domain::rate_limit::{Limit, Policy, Preset, Quota};
use crate::error::ApiError;
use crate::store::rate_limiter::{Counter, RateLimiter, Subject, TextHash, Verdict};
use crate::telemetry;

/// An endpoint's own limit, in addition to those that all endpoints have.
#[derive(Clone, Copy)]
pub struct Endpoint {
    name: &'static str,
    strict: &'static str,
    per: Per,
    counted: Counted,
}

#[derive(Clone, Copy)]
enum Per {
    /// A caller with a token, or else a client.
    Anybody,
    /// A caller with a token.
    Caller,
}

/// The requests that stay counted under the endpoint's limit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    All,
    Failures,
    FailuresIfBalanced,
}

impl Endpoint {
    /// The common limit of all two-factor endpoints.
    pub const TWO_FACTOR: Self = Self::per_client("TWO_FACTOR", "10/15m");

    /// The common limit of adding and removing passkeys.
    pub const PASSKEYS: Self = Self::per_caller("PASSKEYS", "20/15m");

    /// The common limit of linking and unlinking identities of other providers.
    pub const OAUTH_LINKS: Self = Self::per_caller("OAUTH_LINKS", "20/15m");

    /// The limit `RATE_LIMIT_<name>` of each user with a valid token, or else of each client. `strict` is its value
    /// with `RATE_LIMITS=strict`.
    pub const fn per_client(name: &'static str, strict: &'static str) -> Self {
        Self::new(name, strict, Per::Anybody)
    }

    /// The limit `RATE_LIMIT_<name>` of each user or session with a valid token; other requests have the limit of
    /// anonymous ones.
    pub const fn per_caller(name: &'static str, strict: &'static str) -> Self {
        Self::new(name, strict, Per::Caller)
    }

    const fn new(name: &'static str, strict: &'static str, per: Per) -> Self {
        let counted = Counted::All;
        Self {
            name,
            strict,
            per,
            counted,
        }
    }

    /// Limits failures only: the handler takes successes back by [`RequestLimits::take_back`].
    pub const fn of_failures(mut self) -> Self {
        self.counted = Counted::Failures;
        self
    }

    /// Limits failures with `RATE_LIMITS=balanced`, and all requests otherwise.
    pub const fn of_failures_if_balanced(mut self) -> Self {
        self.counted = Counted::FailuresIfBalanced;
        self
    }
}

/// All limits of an endpoint. `None` means no limit.
pub(super) struct RateLimits {
    limiter: RateLimiter,
    global: Option<Policy>,
    /// The limit of requests without a valid token: `RATE_LIMIT_GUEST`.
    anonymous: Option<Policy>,
    pub(super) user: Option<Policy>,
    pub(super) admin: Option<Policy>,
    endpoint: Option<(Policy, Per)>,
    /// Whether the endpoint's limit is for failures.
    is_of_failures: bool,
}

/// The caller named by a request's token alone; the session may have ended.
pub(super) struct Identified<'a> {
    pub(super) tier: Option<&'a Policy>,
    pub(super) subject: Subject,
}

impl RateLimits {
    pub(super) fn from_env(environment: &mut Environment, endpoint: Option<Endpoint>) -> Self {
        let is_balanced = preset(environment) == Preset::Balanced;
        let is_of_failures = endpoint.is_some_and(|endpoint| match endpoint.counted {
            Counted::All => false,
            Counted::Failures => true,
            Counted::FailuresIfBalanced => is_balanced,
        });
        let endpoint = endpoint.and_then(|endpoint| {
            let policy = policy(environment, endpoint.name, endpoint.strict)?;
            Some((policy, endpoint.per))
        });
        Self {
            limiter: RateLimiter::from_env(environment),
            global: policy(environment, "GLOBAL", "100/15m"),
            anonymous: policy(environment, "GUEST", "5/1m"),
            user: None,
            admin: None,
            endpoint,
            is_of_failures,
        }
    }

    /// Reads the limit of users as well.
    pub(super) fn with_user_tier(mut self, environment: &mut Environment) -> Self {
        self.user = policy(environment, "USER", "15/1m");
        self
    }

    /// Reads the limit of admins as well.
    pub(super) fn with_admin_tier(mut self, environment: &mut Environment) -> Self {
        self.admin = policy(environment, "ADMIN", "30/1m");
        self
    }

    /// Removes the limit of anonymous requests.
    pub(super) fn without_anonymous_tier(mut self) -> Self {
        self.anonymous = None;
        self
    }

    /// Connects to the store before the first request.
    pub(super) async fn connect_early(&self) {
        self.limiter.connect_early().await;
    }

    /// Creates the charge of a request under all limits that apply to it. With a token, all of them are its user's or
    /// its session's: others at the same address cannot use up the requests of a signed-in user.
    pub(super) fn charge(
        self: &Arc<Self>,
        request_id: &str,
        client: Subject,
        caller: Option<Identified<'_>>,
    ) -> Charge {
        let is_caller = caller.is_some();
        let (tier, subject) = match caller {
            Some(caller) => (caller.tier, caller.subject),
            None => (self.anonymous.as_ref(), client),
        };
        let endpoint = self.endpoint.as_ref().and_then(|(policy, per)| match per {
            Per::Caller if !is_caller => None,
            Per::Caller | Per::Anybody => Some(policy),
        });
        let applicable = [self.global.as_ref(), tier, endpoint];
        let counter = |policy| Counter::requests(policy, &subject);
        let state = State {
            pending: applicable.into_iter().flatten().map(counter).collect(),
            ..State::default()
        };
        Charge(Arc::new(Charging {
            limits: self.clone(),
            request_id: request_id.to_owned(),
            state: Mutex::new(state),
        }))
    }
}

/// Reads `RATE_LIMITS`.
fn preset(environment: &mut Environment) -> Preset {
    let form = "strict, balanced or off";
    let preset = environment.optional("RATE_LIMITS", form, Preset::parse);
    preset.unwrap_or(Preset::Strict)
}

/// Reads the limit `RATE_LIMIT_<name>`; its default is the preset's, given the strict one.
fn policy(environment: &mut Environment, name: &str, strict: &str) -> Option<Policy> {
    let strict = Limit::parse(strict).flatten();
    let default = strict.and_then(|strict| preset(environment).limit(name, strict));
    let limit = environment.limit(&format!("RATE_LIMIT_{name}"), default)?;
    let name = name.to_ascii_lowercase().replace('_', "-");
    Some(Policy { name, limit })
}

/// The rate-limit counters of one request: those still to be charged, those charged already, and the remaining quotas,
/// which are reported to the client in the `RateLimit` headers.
#[derive(Clone)]
pub(super) struct Charge(Arc<Charging>);

struct Charging {
    limits: Arc<RateLimits>,
    request_id: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pending: Vec<Counter>,
    charged: Vec<Counter>,
    quotas: Vec<Quota>,
}

impl Charge {
    /// Charges the pending counters. If a limit refuses, nothing stays charged. A second call does nothing.
    ///
    /// # Errors
    /// `rate_limited`, and `service_unavailable` or `internal_error` if the store fails.
    pub(super) async fn charge(&self) -> Result<(), ApiError> {
        let pending = std::mem::take(&mut self.state().pending);
        let quotas = self.count(pending).await?;
        self.state().quotas.extend(quotas);
        Ok(())
    }

    /// Returns the quota to report to the client.
    pub(super) fn tightest(&self) -> Option<Quota> {
        Quota::tightest(&self.state().quotas)
    }

    async fn count(&self, counters: Vec<Counter>) -> Result<Vec<Quota>, ApiError> {
        if counters.is_empty() {
            return Ok(Vec::new());
        }
        let (limiter, id) = (&self.0.limits.limiter, &self.0.request_id);
        match limiter.count(id, &counters).await? {
            Verdict::Passes(quotas) => {
                self.state().charged.extend(counters);
                Ok(quotas)
            }
            Verdict::Refused(quotas) => {
                let charged = std::mem::take(&mut self.state().charged);
                limiter.take_back(id, &charged).await;
                let quota = Quota::tightest(&quotas)
                    .ok_or_else(|| ApiError::Internal("refused by no limit".into()))?;
                telemetry::count("RateLimited", &[("Policy", &quota.policy.name)]);
                Err(ApiError::RateLimited(Box::new(quota)))
            }
        }
    }

    async fn take_back(&self, policies: &[Option<&Policy>]) {
        let is_taken_back = |policy: &Policy| policies.contains(&Some(policy));
        let counters = {
            let mut state = self.state();
            for quota in &mut state.quotas {
                quota.remaining += u32::from(is_taken_back(&quota.policy));
            }
            // Limits without any charge are not reported to the client.
            let is_unused = |quota: &Quota| quota.remaining >= quota.policy.limit.max;
            state.quotas.retain(|quota| !is_unused(quota));
            let is_of_it = |counter: &mut Counter| is_taken_back(counter.policy());
            state.charged.extract_if(.., is_of_it).collect::<Vec<_>>()
        };
        let (limiter, id) = (&self.0.limits.limiter, &self.0.request_id);
        limiter.take_back(id, &counters).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The limits of a request that was charged under them.
pub struct RequestLimits(pub(super) Charge);

impl RequestLimits {
    /// Also charges the request under the endpoint's limit for a text, such as an address: it limits the requests of
    /// all clients together about one address. The remaining quota is not reported, as it would reveal that somebody
    /// else has asked.
    ///
    /// # Errors
    /// `rate_limited`, and `service_unavailable` or `internal_error` if the store fails.
    pub async fn charge_about(&self, text: TextHash) -> Result<(), ApiError> {
        let Some((policy, _)) = &self.0.0.limits.endpoint else {
            return Ok(());
        };
        let counter = Counter::requests(policy, &Subject::Text(text));
        self.0.count(vec![counter]).await.map(|_| ())
    }

    /// Takes the charge under the endpoint's limit back if that limit is for failures, and the request was none. It is
    /// charged first, so that no more parallel requests than the limit allows are tried.
    pub async fn take_back(&self) {
        self.0.take_back(&[self.limit_of_failures()]).await;
    }

    /// Also takes back the charge under the limit of anonymous requests, for somebody who has shown the password:
    /// people behind one address must not keep each other from signing in. The global limit bounds the cost.
    pub async fn take_back_of_owner(&self) {
        let anonymous = self.0.0.limits.anonymous.as_ref();
        self.0
            .take_back(&[self.limit_of_failures(), anonymous])
            .await;
    }

    /// Takes back what a failed sign-in must not be charged: if only something else than the proof is missing, or in an
    /// outage.
    pub async fn settle<T>(&self, result: &Result<T, ApiError>) {
        match result {
            Err(error) if error.holds_proof() => self.take_back_of_owner().await,
            Err(ApiError::ServiceUnavailable(_)) => self.take_back().await,
            _ => {}
        }
    }

    fn limit_of_failures(&self) -> Option<&Policy> {
        let limits = &self.0.0.limits;
        let endpoint = limits.endpoint.as_ref().filter(|_| limits.is_of_failures);
        endpoint.map(|(policy, _)| policy)
    }
}

/// The limits of a request that was not charged under them yet.
#[must_use = "the handler charges the limits together with its first question to the stores"]
pub struct PendingLimits(pub(super) Charge);

impl PendingLimits {
    /// Charges the request. A handler awaits this together with its first call to the stores, which saves a round trip;
    /// if the request is refused, the handler undoes the changes of that call. If a handler returns without calling
    /// this, the request is charged before the answer is sent.
    ///
    /// # Errors
    /// `rate_limited`, and `service_unavailable` or `internal_error` if the store fails.
    pub async fn charge(self) -> Result<(), ApiError> {
        self.0.charge().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::client_address::ClientAddress;
    use crate::domain::id::UserId;

    /// The limits as `.env.example` explains them: `# Per client: login (5/15m, 10/15m)` before `RATE_LIMIT_LOGIN=`.
    fn explained() -> Vec<(String, String, String)> {
        let example = include_str!("../../../.env.example");
        let lines: Vec<&str> = example.lines().collect();
        let limits = lines.windows(2).filter_map(|pair| {
            let name = pair[1].strip_prefix("RATE_LIMIT_")?.trim_end_matches('=');
            let (_, numbers) = pair[0].rsplit_once('(')?;
            let (strict, balanced) = numbers.trim_end_matches(')').split_once(", ")?;
            Some((name.to_owned(), strict.to_owned(), balanced.to_owned()))
        });
        limits.collect()
    }

    #[test]
    fn every_limit_is_the_presets_or_its_own_variable() {
        const OWN: (&str, &str) = ("RATE_LIMIT_REFRESH", "7/1m");
        let limits = explained();
        assert_eq!(limits.len(), 23);
        for (name, strict, balanced) in limits.iter().filter(|(name, ..)| name != "REFRESH") {
            for (mut environment, expected) in [
                (Environment::of(&[OWN]), strict.as_str()),
                (Environment::of(&[("RATE_LIMITS", "strict"), OWN]), strict),
                (
                    Environment::of(&[("RATE_LIMITS", "balanced"), OWN]),
                    balanced,
                ),
                (Environment::of(&[("RATE_LIMITS", "off"), OWN]), "off"),
            ] {
                let limit = policy(&mut environment, name, strict).map(|policy| policy.limit);
                assert_eq!(Some(limit), Limit::parse(expected), "{name} {expected}");

                let own = policy(&mut environment, "REFRESH", "30/15m").unwrap();
                assert_eq!(Some(Some(own.limit)), Limit::parse("7/1m"));
            }
        }
    }

    fn limits(endpoint: Endpoint) -> Arc<RateLimits> {
        let mut environment = Environment::of(&[("REDIS_URL", "redis://127.0.0.1:9")]);
        let limits = RateLimits::from_env(&mut environment, Some(endpoint));
        let limits = limits.with_user_tier(&mut environment);
        Arc::new(limits)
    }

    fn pending(charge: &Charge) -> Vec<String> {
        let state = charge.state();
        let counters = state.pending.iter();
        counters
            .map(|counter| format!("{} {}", counter.policy().name, counter.key()))
            .collect()
    }

    #[test]
    fn an_anonymous_request_counts_under_its_clients_network() {
        let limits = limits(Endpoint::per_client("LOGIN", "5/15m"));
        let address = ClientAddress::parse("2001:db8:1:2:3:4:5:6").unwrap();

        let charge = limits.charge("request", Subject::Client(address), None);

        assert_eq!(
            pending(&charge),
            [
                "global rate_limit:global:{2001:db8:1:2::/64}",
                "guest rate_limit:guest:{2001:db8:1:2::/64}",
                "login rate_limit:login:{2001:db8:1:2::/64}",
            ]
        );
    }

    #[test]
    fn a_caller_counts_under_the_user_alone_and_an_endpoint_of_callers_counts_nobody_else() {
        let limits = limits(Endpoint::per_caller("PROFILE", "20/15m"));
        let address = ClientAddress::parse("203.0.113.7").unwrap();
        let id: UserId = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap();
        let caller = Identified {
            tier: limits.user.as_ref(),
            subject: Subject::User(id),
        };

        let charge = limits.charge("request", Subject::Client(address), Some(caller));
        let anonymous = limits.charge("request", Subject::Client(address), None);

        assert_eq!(
            pending(&charge),
            [
                format!("global rate_limit:global:{{{id}}}"),
                format!("user rate_limit:user:{{{id}}}"),
                format!("profile rate_limit:profile:{{{id}}}"),
            ]
        );
        assert_eq!(pending(&anonymous).len(), 2, "no limit of the endpoint");
    }

    #[test]
    fn only_a_limit_of_failures_takes_requests_back() {
        let login = limits(Endpoint::per_client("LOGIN", "5/15m").of_failures());
        let register = limits(Endpoint::per_client("REGISTER", "5/15m").of_failures_if_balanced());
        let address = Subject::Client(ClientAddress::parse("203.0.113.7").unwrap());
        let limits = |limits: &Arc<RateLimits>| {
            RequestLimits(limits.charge("request", address.clone(), None))
        };

        let name = |limits: &RequestLimits| limits.limit_of_failures().map(|it| it.name.clone());
        assert_eq!(name(&limits(&login)).as_deref(), Some("login"));
        assert_eq!(name(&limits(&register)), None, "limits are strict");
    }
}
