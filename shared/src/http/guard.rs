//! What every request passes: who the client is, whether it is a bot, and how often it has asked. A
//! guest passes before the handler begins, so that whoever is refused costs little. Somebody with a token
//! passes by [`Request::pass`], beside the first question to the stores: that saves a round trip, and costs
//! what was asked where a limit refuses.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time;
use http::header::HeaderName;
use secrecy::{ExposeSecret, SecretString};

use super::refresh_token::Presented;
use super::{Request, authentication};
use crate::config::Environment;
use crate::domain::client_address::ClientAddress;
use crate::domain::rate_limit::{Policy, Preset, Quota};
use crate::domain::rule::rule;
use crate::domain::token::{AccessTokenVerifier, RefreshTokenVerifier};
use crate::domain::user::Role;
use crate::error::ApiError;
use crate::store::rate_limiter::{Counter, RateLimiter, Subject, TextHash, Verdict};
use crate::telemetry;

/// What CloudFront adds, and nobody else knows.
const ORIGIN_VERIFY: HeaderName = HeaderName::from_static("x-origin-verify");
/// CloudFront's word about the client.
const VIEWER_ADDRESS: HeaderName = HeaderName::from_static("cloudfront-viewer-address");
/// What a server adds whose word about its clients counts.
const PROXY_SECRET: HeaderName = HeaderName::from_static("x-gatehouse-proxy-secret");
/// Its word.
const CLIENT_ADDRESS: HeaderName = HeaderName::from_static("x-gatehouse-client-ip");

const USER_LIMIT: &str = "15/1m";

/// The limit of an endpoint, beside those that all endpoints have.
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

/// Whether a request that succeeds stays counted under its endpoint's limit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    All,
    Failures,
    FailuresIfBalanced,
}

impl Endpoint {
    /// `RATE_LIMIT_<name>` for each client or, with a valid token, each user. Given is the strict limit.
    pub const fn per_client(name: &'static str, strict: &'static str) -> Self {
        Self::new(name, strict, Per::Anybody)
    }

    /// `RATE_LIMIT_<name>` for each user; who is nobody is limited as a guest.
    pub const fn per_user(name: &'static str, strict: &'static str) -> Self {
        Self::new(name, strict, Per::Caller)
    }

    /// `RATE_LIMIT_<name>` for each session: where refresh tokens are taken.
    pub const fn per_session(name: &'static str, strict: &'static str) -> Self {
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

    /// The limit is for failures: the handler gives a success back ([`Guard::give_back`]).
    pub const fn of_failures(mut self) -> Self {
        self.counted = Counted::Failures;
        self
    }

    /// The same among people who know each other, with `RATE_LIMITS=balanced`.
    pub const fn of_failures_if_balanced(mut self) -> Self {
        self.counted = Counted::FailuresIfBalanced;
        self
    }
}

/// How a client says who it is.
enum Callers {
    /// It does not: a public endpoint takes no token.
    Guests,
    AccessTokens(AccessTokenVerifier, Tiers),
    RefreshTokens(RefreshTokenVerifier, Option<Policy>),
}

/// Limits by who is asking.
struct Tiers {
    user: Option<Policy>,
    admin: Option<Policy>,
}

/// What to do about bots.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Off,
    Log,
    Block,
}

struct BotProtection {
    mode: Mode,
    /// By pointer, so that functions without public endpoints do not carry the data.
    is_bot: fn(&str) -> bool,
}

/// Guards one endpoint.
pub struct Guard {
    /// What CloudFront sends, and while it is replaced the other one; none where there is no CloudFront.
    origin_verify_secrets: Vec<SecretString>,
    /// What servers send that speak for their clients; none where there are none.
    proxy_secrets: Vec<SecretString>,
    /// Of a public endpoint.
    bots: Option<BotProtection>,
    callers: Callers,
    limiter: RateLimiter,
    global: Option<Policy>,
    guest: Option<Policy>,
    endpoint: Option<(Policy, Per)>,
    gives_back: bool,
}

impl Guard {
    /// For a public endpoint: everybody is a guest here, and may be a bot.
    pub fn for_guests(environment: &mut Environment, endpoint: Endpoint) -> Self {
        Self::new(environment, Callers::Guests, Some(endpoint)).against_bots(environment)
    }

    /// For an endpoint that whoever is signed in may ask, by whatever token: as a guest nobody is limited by the minute.
    pub fn for_leaving(environment: &mut Environment) -> Self {
        let guard = Self::for_users(environment, None);
        Self {
            guest: None,
            ..guard
        }
    }

    /// For a public endpoint that takes access tokens as well.
    pub fn for_guests_and_users(environment: &mut Environment, endpoint: Endpoint) -> Self {
        Self::for_users(environment, Some(endpoint)).against_bots(environment)
    }

    fn against_bots(self, environment: &mut Environment) -> Self {
        let modes = |text: &str| match text {
            "off" => Some(Mode::Off),
            "log" => Some(Mode::Log),
            "block" => Some(Mode::Block),
            _ => None,
        };
        let mode = environment.optional("BOT_PROTECTION", "off, log or block", modes);
        let bots = BotProtection {
            mode: mode.unwrap_or(Mode::Log),
            is_bot: super::bots::is_bot,
        };
        Self {
            bots: Some(bots),
            ..self
        }
    }

    /// For an endpoint that takes access tokens.
    pub fn for_users(environment: &mut Environment, endpoint: Option<Endpoint>) -> Self {
        let verifier = environment.access_token_verifier();
        let callers = Callers::AccessTokens(verifier, Tiers::from_env(environment));
        Self::new(environment, callers, endpoint)
    }

    /// For an endpoint that takes refresh tokens.
    pub fn for_sessions(environment: &mut Environment, endpoint: Endpoint) -> Self {
        let verifier = environment.refresh_token_verifier();
        let callers = Callers::RefreshTokens(verifier, environment.rate_limit("USER", USER_LIMIT));
        Self::new(environment, callers, Some(endpoint))
    }

    fn new(environment: &mut Environment, callers: Callers, endpoint: Option<Endpoint>) -> Self {
        let is_balanced = environment.rate_limits() == Preset::Balanced;
        let gives_back = endpoint.is_some_and(|endpoint| match endpoint.counted {
            Counted::All => false,
            Counted::Failures => true,
            Counted::FailuresIfBalanced => is_balanced,
        });
        let endpoint = endpoint.and_then(|endpoint| {
            let policy = environment.rate_limit(endpoint.name, endpoint.strict)?;
            Some((policy, endpoint.per))
        });
        let mut origin_verify = |name| environment.optional_secret(name);
        let secrets = [
            origin_verify("ORIGIN_VERIFY_SECRET"),
            origin_verify("ORIGIN_VERIFY_SECRET_PREVIOUS"),
        ];
        Self {
            origin_verify_secrets: secrets.into_iter().flatten().collect(),
            proxy_secrets: environment.secrets("TRUSTED_PROXY_SECRET"),
            bots: None,
            callers,
            limiter: environment.rate_limiter(),
            global: environment.rate_limit("GLOBAL", "100/15m"),
            guest: environment.rate_limit("GUEST", "5/1m"),
            endpoint,
            gives_back,
        }
    }

    /// Does what is better done before the first request.
    pub(super) async fn start(&self) {
        self.limiter.connect_early().await;
    }

    /// Lets a request in, or not. One with a token still has to pass.
    ///
    /// # Errors
    /// `forbidden` past CloudFront, `bot_detected`, `rate_limited`, and those of the store.
    pub(super) async fn admit(&self, request: &mut Request) -> Result<(), ApiError> {
        let client = self.client(request)?;
        request.set_client(client);
        if let Some(bots) = &self.bots {
            bots.check(request)?;
        }
        match &self.callers {
            Callers::Guests => {}
            Callers::AccessTokens(verifier, _) => {
                request.set_access_token(authentication::verify(verifier, request));
            }
            Callers::RefreshTokens(verifier, _) => {
                request.set_refresh_token(Presented::read(verifier, request));
            }
        }
        let counters = self.counters(request, client);
        request.tally().owe(&self.limiter, counters);
        match self.callers {
            Callers::Guests => request.pass().await,
            Callers::AccessTokens(..) | Callers::RefreshTokens(..) => Ok(()),
        }
    }

    /// Counts a request under the endpoint's limit about a text as well, such as an address: from
    /// however many clients, only so many requests are about one. How many are left is told to nobody: it would
    /// say that somebody else has asked.
    ///
    /// # Errors
    /// `rate_limited`, and those of the store.
    pub async fn count_about(&self, request: &Request, text: TextHash) -> Result<(), ApiError> {
        let Some((policy, _)) = &self.endpoint else {
            return Ok(());
        };
        let subject = Subject::Text(text);
        let counters = vec![Counter::requests(policy, &subject)];
        request.tally().owe_untold(&self.limiter, counters);
        request.pass().await
    }

    /// Where the endpoint's limit is for failures: the request was none, and counts under that limit no longer. It was
    /// counted first, so that of many at once no more than the limit get to be tried; and nothing else is forgiven.
    pub async fn give_back(&self, request: &Request) {
        self.give_back_under(&[self.limit_of_failures()], request)
            .await;
    }

    /// The same of somebody who has shown the password: no guest either, so that of people behind one address nobody is
    /// kept out by the others who sign in. The global limit bounds what it costs.
    pub async fn give_back_to_owner(&self, request: &Request) {
        let policies = [self.limit_of_failures(), self.guest.as_ref()];
        self.give_back_under(&policies, request).await;
    }

    /// The endpoint's limit, where it is for failures.
    fn limit_of_failures(&self) -> Option<&Policy> {
        let endpoint = self.endpoint.as_ref().filter(|_| self.gives_back);
        endpoint.map(|(policy, _)| policy)
    }

    async fn give_back_under(&self, policies: &[Option<&Policy>], request: &Request) {
        let (tally, id) = (request.tally(), &request.origin().request_id);
        tally.give_back(&self.limiter, policies, id).await;
    }

    /// The gateway's word for the client's address; behind CloudFront, that of CloudFront; of a server that is trusted,
    /// the server's. Headers such as `X-Forwarded-For` are the client's own and change nothing.
    fn client(&self, request: &Request) -> Result<ClientAddress, ApiError> {
        let sender = self.sender(request)?;
        if !is_sent(&self.proxy_secrets, &PROXY_SECRET, request) {
            return Ok(sender);
        }
        let Some(client) = request.header(&CLIENT_ADDRESS) else {
            return Ok(sender); // it asks for itself
        };
        // The server's mistake: to count all its clients as one would show only once they are refused.
        ClientAddress::parse(client).ok_or_else(|| {
            let rule = rule("invalid_address", "must be an IP address without a port");
            ApiError::invalid("X-Gatehouse-Client-IP", rule)
        })
    }

    /// Who has sent the request to the gateway, or to CloudFront.
    fn sender(&self, request: &Request) -> Result<ClientAddress, ApiError> {
        let peer = || {
            let peer = ClientAddress::parse(&request.origin().ip);
            peer.ok_or_else(|| ApiError::Internal("an event without an address".into()))
        };
        if self.origin_verify_secrets.is_empty() {
            return peer();
        }
        if !is_sent(&self.origin_verify_secrets, &ORIGIN_VERIFY, request) {
            return Err(ApiError::Forbidden);
        }
        let viewer = request.header(&VIEWER_ADDRESS);
        match viewer.and_then(ClientAddress::parse_with_port) {
            Some(viewer) => Ok(viewer),
            None => peer(), // CloudFront's own: one client for all, rather than none
        }
    }

    /// Every limit that applies to a request. With a token, all of them are its user's or its session's: what
    /// others do at the same address refuses nobody who is signed in.
    fn counters(&self, request: &Request, client: ClientAddress) -> Vec<Counter> {
        let caller = self.callers.caller(request);
        let is_caller = caller.is_some();
        let (tier, subject) = match caller {
            Some(caller) => (caller.tier, caller.subject),
            None => (self.guest.as_ref(), Subject::Client(client)),
        };
        let endpoint = self.endpoint.as_ref().and_then(|(policy, per)| match per {
            Per::Caller if !is_caller => None,
            Per::Caller | Per::Anybody => Some(policy),
        });
        let applicable = [self.global.as_ref(), tier, endpoint];
        let counter = |policy| Counter::requests(policy, &subject);
        applicable.into_iter().flatten().map(counter).collect()
    }
}

/// Whether the header is one of these, compared in constant time.
fn is_sent(secrets: &[SecretString], header: &HeaderName, request: &Request) -> bool {
    let given = request.header(header).unwrap_or_default();
    let is_given = |secret: &SecretString| {
        let secret = secret.expose_secret().as_bytes();
        constant_time::verify_slices_are_equal(secret, given.as_bytes()).is_ok()
    };
    secrets.iter().any(is_given)
}

/// Somebody with a token of ours.
struct Caller<'a> {
    tier: Option<&'a Policy>,
    subject: Subject,
}

impl Callers {
    /// By the token alone; whether its session is over, the handler asks.
    fn caller(&self, request: &Request) -> Option<Caller<'_>> {
        match self {
            Self::Guests => None,
            Self::AccessTokens(verifier, tiers) => {
                let (claims, subject) = match request.access_token()? {
                    Ok(claims) => (claims.clone(), Subject::User(claims.sub)),
                    // People are told to refresh, however many of them there are at an address. An old token must
                    // use up neither its owner's requests nor its session's refreshes.
                    Err(_) => {
                        let claims = authentication::expired(verifier, request)?;
                        let subject = Subject::ExpiredSession(claims.sub, claims.sid);
                        (claims, subject)
                    }
                };
                let tier = match claims.role {
                    Role::User => tiers.user.as_ref(),
                    Role::Admin => tiers.admin.as_ref(),
                };
                Some(Caller { tier, subject })
            }
            Self::RefreshTokens(_, user_tier) => {
                let claims = request.refresh_claims()?;
                // By session: a token whose session is over must not use up its owner's requests.
                Some(Caller {
                    tier: user_tier.as_ref(), // the token does not know the role
                    subject: Subject::Session(claims.sub, claims.sid),
                })
            }
        }
    }
}

impl Tiers {
    fn from_env(environment: &mut Environment) -> Self {
        Self {
            user: environment.rate_limit("USER", USER_LIMIT),
            admin: environment.rate_limit("ADMIN", "30/1m"),
        }
    }
}

impl BotProtection {
    fn check(&self, request: &Request) -> Result<(), ApiError> {
        if self.mode == Mode::Off {
            return Ok(());
        }
        if !(self.is_bot)(&request.origin().user_agent) {
            return Ok(());
        }
        let is_blocked = self.mode == Mode::Block;
        telemetry::count("Bots", &[]);
        let origin = request.origin();
        tracing::info!(user_agent = origin.user_agent, is_blocked, "bot");
        match is_blocked {
            true => Err(ApiError::BotDetected),
            false => Ok(()),
        }
    }
}

/// What a request is to be counted under, what it was counted under so far, and what is left. Shared with
/// the loop that answers, which tells the client.
#[derive(Clone, Default)]
pub(super) struct Tally(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    owed: Option<Owed>,
    counted: Vec<Counter>,
    quotas: Vec<Quota>,
}

struct Owed {
    limiter: RateLimiter,
    counters: Vec<Counter>,
    /// Whether the client may learn what is left.
    is_told: bool,
}

impl Tally {
    fn owe(&self, limiter: &RateLimiter, counters: Vec<Counter>) {
        self.lock().owed = Some(Owed {
            limiter: limiter.clone(),
            counters,
            is_told: true,
        });
    }

    fn owe_untold(&self, limiter: &RateLimiter, counters: Vec<Counter>) {
        self.owe(limiter, counters);
        if let Some(owed) = &mut self.lock().owed {
            owed.is_told = false;
        }
    }

    async fn give_back(
        &self,
        limiter: &RateLimiter,
        policies: &[Option<&Policy>],
        request_id: &str,
    ) {
        let is_given_back = |policy: &Policy| policies.contains(&Some(policy));
        let counters = {
            let mut counts = self.lock();
            for quota in &mut counts.quotas {
                quota.remaining += u32::from(is_given_back(&quota.policy));
            }
            // Of a limit that is whole there is nothing to tell.
            let is_whole = |quota: &Quota| quota.remaining >= quota.policy.limit.most;
            counts.quotas.retain(|quota| !is_whole(quota));
            let is_of_it = |counter: &mut Counter| is_given_back(counter.policy());
            counts.counted.extract_if(.., is_of_it).collect::<Vec<_>>()
        };
        limiter.take_back(request_id, &counters).await;
    }

    /// Counts the request under what is owed and what it was counted under before; or under none. What
    /// was paid once is not owed again.
    pub(super) async fn pay(&self, request_id: &str) -> Result<(), ApiError> {
        let owed = self.lock().owed.take();
        let Some(owed) = owed.filter(|owed| !owed.counters.is_empty()) else {
            return Ok(());
        };
        let Owed {
            limiter,
            counters,
            is_told,
        } = owed;
        match limiter.count(request_id, &counters).await? {
            Verdict::Passes(quotas) => {
                let mut counts = self.lock();
                counts.counted.extend(counters);
                counts.quotas.extend(quotas.into_iter().filter(|_| is_told));
                Ok(())
            }
            Verdict::Refused(quotas) => {
                let counted = std::mem::take(&mut self.lock().counted);
                limiter.take_back(request_id, &counted).await;
                let quota = Quota::tightest(&quotas)
                    .ok_or_else(|| ApiError::Internal("refused by no limit".into()))?;
                telemetry::count("RateLimited", &[("Policy", &quota.policy.name)]);
                Err(ApiError::RateLimited(Box::new(quota)))
            }
        }
    }

    /// The quota that the client is told.
    pub(super) fn tightest(&self) -> Option<Quota> {
        Quota::tightest(&self.lock().quotas)
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
