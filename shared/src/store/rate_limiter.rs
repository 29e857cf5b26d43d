//! Counters of requests and failures, in Redis: exact sliding windows.
//!
//! | key | type | content |
//! |---|---|---|
//! | `rate_limit:<policy>:{<client, user or hash>}` | sorted set | ids of requests by time (ms) |
//! | `rate_limit:<policy>:{<userId>}:<sessionId>`, with `:expired` | sorted set | the same, by refresh tokens and expired access tokens |
//! | `login_failures:{<hash of the identifier typed>}`, `login_failures:{<userId>}:<deviceId>` | sorted set | ids of requests with wrong passwords by time (ms) |
//! | `account_failures:{<userId or hash>}` | sorted set | the same, whichever identifier was typed |
//! | `reauthentication_failures:{<userId>}:<sessionId>` | sorted set | the same, of a signed-in user |
//! | `two_factor_failures:{<userId>}` | sorted set | ids of requests with wrong codes by time (ms) |
//! | `two_factor_failures:{<client>}` | sorted set | ids of users by time (ms): accounts for which this client sent wrong codes |
//!
//! The braces are literal: keys about one client, or about one user, are in one slot of a cluster and in one call of a
//! script. Only the server's clock counts, so that functions with different clocks agree.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use futures_util::future::{join_all, try_join_all};
use redis::Cmd;
use secrecy::{ExposeSecret, SecretString};

use super::Error;
use super::redis::{Redis, Script};
use crate::config::Environment;
use crate::domain::client_address::ClientAddress;
use crate::domain::device_token::DeviceId;
use crate::domain::email_address::EmailAddress;
use crate::domain::rate_limit::{Policy, Quota};
use crate::domain::secret;
use crate::domain::session::SessionId;
use crate::domain::user::UserId;
use crate::domain::username::Username;

/// The subject whose requests are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A client, identified by its network.
    Client(ClientAddress),
    /// A user.
    User(UserId),
    /// A session.
    Session(UserId, SessionId),
    /// A session, for requests with its expired access tokens.
    ExpiredSession(UserId, SessionId),
    /// A user on one device.
    Device(UserId, DeviceId),
    /// A text; the store has only its hash.
    Text(TextHash),
}

/// The HMAC-SHA256 of a text, in hexadecimal: without the key, nobody can recover an address (or a password typed into
/// the wrong field) by brute force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextHash(String);

/// Hashes texts for the names of counters. The kind of text is part of the hash input, so an address typed as a
/// username has a counter of its own.
pub struct TextHasher(hmac::Key);

impl TextHasher {
    /// Derives the key from this secret.
    pub fn new(secret: &SecretString) -> Self {
        let key = secret::derive(secret, "names of counters");
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose_secret().as_bytes());
        Self(key)
    }

    /// Hashes an address; all spellings of it have the same hash.
    pub fn email(&self, email: &EmailAddress) -> TextHash {
        self.hash("email", &email.canonical())
    }

    /// Hashes a username; all spellings of it have the same hash.
    pub fn username(&self, username: &Username) -> TextHash {
        self.hash("username", &username.canonical())
    }

    /// Hashes a text that cannot be an account's address or username.
    pub fn impossible(&self, text: &str) -> TextHash {
        self.hash("impossible", text)
    }

    fn hash(&self, kind: &str, text: &str) -> TextHash {
        let message = format!("{kind}:{text}");
        TextHash(hex::encode(hmac::sign(&self.0, message.as_bytes())))
    }
}

/// A counter: a policy applied to a subject. Only created here, so that keys are built from typed parts.
#[derive(Clone, Debug)]
pub struct Counter {
    key: String,
    /// The hash tag, which determines the key's cluster slot.
    tag: String,
    /// The member to count, if it is not the request's id.
    member: Option<String>,
    policy: Policy,
}

impl Counter {
    /// Counts the requests of a subject under a policy.
    pub fn requests(policy: &Policy, subject: &Subject) -> Self {
        Self::new(&format!("rate_limit:{}", policy.name), policy, subject)
    }

    /// Counts the wrong passwords for an identifier, or from a device.
    pub fn login_failures(policy: &Policy, subject: &Subject) -> Self {
        Self::new("login_failures", policy, subject)
    }

    /// Counts the wrong passwords of an account.
    pub fn account_failures(policy: &Policy, subject: &Subject) -> Self {
        Self::new("account_failures", policy, subject)
    }

    /// Counts the wrong passwords of a session.
    pub fn reauthentication_failures(policy: &Policy, subject: &Subject) -> Self {
        Self::new("reauthentication_failures", policy, subject)
    }

    /// Counts the wrong mailed codes of an address.
    pub fn mailed_code_failures(policy: &Policy, subject: &Subject) -> Self {
        Self::new("mailed_code_failures", policy, subject)
    }

    /// Counts the wrong codes of an account, or of a client.
    pub fn two_factor_failures(policy: &Policy, subject: &Subject) -> Self {
        Self::new("two_factor_failures", policy, subject)
    }

    /// Counts each account once instead of each request.
    pub fn of_accounts(self, account: UserId) -> Self {
        Self {
            member: Some(account.to_string()),
            ..self
        }
    }

    /// Returns the policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The key in Redis.
    #[cfg(test)]
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    fn new(prefix: &str, policy: &Policy, subject: &Subject) -> Self {
        let (tag, rest) = match subject {
            Subject::Client(address) => (address.network(), None),
            Subject::User(id) => (id.to_string(), None),
            Subject::Session(user, id) => (user.to_string(), Some(id.to_string())),
            Subject::ExpiredSession(user, id) => (user.to_string(), Some(format!("{id}:expired"))),
            Subject::Device(user, id) => (user.to_string(), Some(id.to_string())),
            Subject::Text(TextHash(hash)) => (hash.clone(), None),
        };
        let rest = rest.map(|rest| format!(":{rest}")).unwrap_or_default();
        Self {
            key: format!("{prefix}:{{{tag}}}{rest}"),
            tag,
            member: None,
            policy: policy.clone(),
        }
    }

    fn member<'a>(&'a self, request_id: &'a str) -> &'a str {
        self.member.as_deref().unwrap_or(request_id)
    }
}

/// The decision about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The request was counted under every policy; with the quota left under each.
    Passes(Vec<Quota>),
    /// The request was counted under no policy; with the exhausted quotas.
    Refused(Vec<Quota>),
}

/// Counts requests.
#[derive(Clone)]
pub struct RateLimiter {
    redis: Arc<Redis>,
    count: Arc<Script>,
}

impl RateLimiter {
    /// Reads the variables of Redis.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            redis: Redis::from_env(environment),
            count: Arc::new(Script::new(include_str!("scripts/count_request.lua"))),
        }
    }

    /// See [`Redis::connect_early`].
    pub async fn connect_early(&self) {
        self.redis.connect_early().await;
    }

    /// Counts a request under all of these counters, or under none. Counters in one slot are charged in one step; if
    /// another slot refuses, the charges are taken back.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses or its answer cannot be
    /// read. A request that cannot be counted must not pass.
    pub async fn count(&self, request_id: &str, counters: &[Counter]) -> Result<Verdict, Error> {
        let mut slots: Vec<Vec<&Counter>> = Vec::new();
        for counter in counters {
            let is_together =
                |other: &Counter| other.tag == counter.tag && other.member == counter.member;
            match slots.iter_mut().find(|slot| is_together(slot[0])) {
                Some(slot) => slot.push(counter),
                None => slots.push(vec![counter]),
            }
        }
        let answers = slots.iter().map(|slot| self.count_slot(request_id, slot));
        let verdicts = try_join_all(answers).await?;
        let is_refused = |verdict: &Verdict| matches!(verdict, Verdict::Refused(_));
        if !verdicts.iter().any(is_refused) {
            return Ok(Verdict::Passes(
                verdicts
                    .into_iter()
                    .flat_map(Verdict::into_quotas)
                    .collect(),
            ));
        }
        let counted = slots.iter().zip(&verdicts);
        let counted = counted.filter(|(_, verdict)| !is_refused(verdict));
        let counted: Vec<&Counter> = counted.flat_map(|(slot, _)| slot).copied().collect();
        self.take_back(request_id, counted).await;
        let refused = verdicts.into_iter().filter(is_refused);
        Ok(Verdict::Refused(
            refused.flat_map(Verdict::into_quotas).collect(),
        ))
    }

    async fn count_slot(&self, request_id: &str, slot: &[&Counter]) -> Result<Verdict, Error> {
        let mut call = self.count.call();
        call.arg(slot[0].member(request_id));
        for counter in slot {
            let limit = counter.policy.limit;
            call.key(&counter.key)
                .arg(limit.max)
                .arg(u64::try_from(limit.window.as_millis()).unwrap_or(u64::MAX));
        }
        let answer: Vec<i64> = self.redis.invoke(&call).await?;
        let [passes, states @ ..] = &answer[..] else {
            return Err(unexpected_data());
        };
        let (states, rest) = states.as_chunks::<2>();
        if states.len() != slot.len() || !rest.is_empty() {
            return Err(unexpected_data());
        }
        let quotas = slot
            .iter()
            .zip(states)
            .map(|(counter, [left, reset])| Quota {
                policy: counter.policy.clone(),
                remaining: u32::try_from(*left).unwrap_or(0),
                reset: Duration::from_millis(u64::try_from(*reset).unwrap_or(0)),
            });
        Ok(match passes {
            1 => Verdict::Passes(quotas.collect()),
            _ => Verdict::Refused(quotas.filter(|quota| quota.remaining == 0).collect()),
        })
    }

    /// Takes back a request's charges. Best effort: a charge that stays counts against the client until the window has
    /// passed.
    pub async fn take_back(&self, request_id: &str, counters: impl IntoIterator<Item = &Counter>) {
        let remove = counters.into_iter().map(|counter| async {
            let command = Cmd::zrem(&counter.key, counter.member(request_id));
            self.redis.run::<()>(&command).await
        });
        for error in join_all(remove).await.into_iter().filter_map(Result::err) {
            tracing::warn!(cause = %error, "a request stays counted");
        }
    }

    /// Deletes these counters.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn clear(&self, counters: &[Counter]) -> Result<(), Error> {
        let clear = counters.iter().map(|counter| async {
            let command = Cmd::del(&counter.key);
            self.redis.run::<()>(&command).await
        });
        try_join_all(clear).await?;
        Ok(())
    }
}

impl Verdict {
    fn into_quotas(self) -> Vec<Quota> {
        match self {
            Self::Passes(quotas) | Self::Refused(quotas) => quotas,
        }
    }
}

fn unexpected_data() -> Error {
    Error::Unexpected("Redis: a counter that no code here has written".to_owned())
}
