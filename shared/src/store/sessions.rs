//! Sessions, in Redis: the truth about being signed in.
//!
//! | key | type | content |
//! |---|---|---|
//! | `sessions:{<userId>}` | hash | for each session id JSON: counter, rotated_at, created_at, last_used_at, expires_at, absolute_expires_at (ms), rotated_by, ip, user_agent, role, remember |
//! | `sessions:{<userId>}:epoch` | text | changes whenever sessions of a user are ended all at once; kept for a minute |
//!
//! One key holds all sessions of a user: a script must name every key that it touches, and what ends all of them cannot
//! know their names. The braces are literal: they keep what one script touches in one slot of a cluster. Each change
//! is one script, so that a refresh cannot outrun a revocation, and the server's clock alone decides, so that functions
//! with different clocks agree.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::Error;
use super::redis::{Redis, Script, ScriptCall};
use crate::domain::session::{Lifetime, RotationPolicy, Session, SessionId};
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{Admitted, Role, UserId};
use crate::store::audit::Origin;

/// How long it is known that a user's sessions were ended: far longer than a sign-in takes.
const EPOCH_KEPT: Duration = Duration::from_secs(60);

/// The newest sessions of a user stay, the oldest beyond this number is ended.
const MOST_SESSIONS: usize = 10;

/// The sessions of all users.
pub struct Sessions {
    redis: Arc<Redis>,
    start: LazyLock<Script>,
    exists: LazyLock<Script>,
    rotate: LazyLock<Script>,
    undo_rotation: LazyLock<Script>,
    revoke: LazyLock<Script>,
    revoke_all: LazyLock<Script>,
    revoke_others: LazyLock<Script>,
    before_sign_in: LazyLock<Script>,
    list: LazyLock<Script>,
}

/// When a sign-in began, among the moments at which its user's sessions are ended all at once. A session
/// is started only if there was no such moment since: what allowed the sign-in may be over with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epoch(String);

/// What became of a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// It was the current one; the session has a new one.
    Rotated(Rotated),
    /// It was replaced a moment ago; this is its successor once more.
    Repeated(Session),
    /// Its session is over.
    Gone,
    /// It was replaced before; the session has been ended (RFC 9700, 4.14.2).
    Reused,
}

/// A rotation, and what the session was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The session with its new token.
    pub session: Session,
    previously_rotated_at: i64,
    previously_expired_at: i64,
}

/// A session as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Names the session.
    pub id: SessionId,
    /// When its user signed in.
    pub created_at: Timestamp,
    /// When it was last refreshed.
    pub last_used_at: Timestamp,
    /// The address that it was last refreshed from.
    pub ip: String,
    /// The agent that it was last refreshed by.
    pub user_agent: String,
}

fn sessions_key(user_id: UserId) -> String {
    format!("sessions:{{{user_id}}}")
}

fn epoch_key(user_id: UserId) -> String {
    format!("{}:epoch", sessions_key(user_id))
}

/// A script about sessions, after what all of them begin with.
macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| {
            Script::new(concat!(
                include_str!("scripts/sessions.lua"),
                include_str!(concat!("scripts/", $file, ".lua"))
            ))
        })
    };
}

impl Sessions {
    /// The sessions kept there.
    pub fn new(redis: Arc<Redis>) -> Self {
        Self {
            redis,
            start: script!("start_session"),
            exists: script!("session_exists"),
            rotate: script!("rotate_session"),
            undo_rotation: script!("undo_rotation"),
            revoke: script!("revoke_session"),
            revoke_all: script!("revoke_all_sessions"),
            revoke_others: script!("revoke_other_sessions"),
            before_sign_in: script!("before_sign_in"),
            list: script!("list_sessions"),
        }
    }

    /// Starts a session; nothing where the user's sessions were ended since the epoch.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn start(
        &self,
        id: SessionId,
        admitted: Admitted<'_>,
        lifetime: &Lifetime,
        epoch: &Epoch,
        origin: &Origin,
    ) -> Result<Option<Session>, Error> {
        let (user_id, role) = (admitted.user().id, admitted.user().role);
        let mut call = on_session(&self.start, id, user_id);
        call.key(epoch_key(user_id))
            .arg(milliseconds(lifetime.idle))
            .arg(milliseconds(lifetime.maximum))
            .arg(&origin.ip)
            .arg(&origin.user_agent)
            .arg(match role {
                Role::User => "user",
                Role::Admin => "admin",
            })
            .arg(u8::from(lifetime.is_remembered))
            .arg(MOST_SESSIONS)
            .arg(&epoch.0);
        let times: Vec<i64> = self.redis.invoke(&call).await?;
        match times[..] {
            [now, expires_at] => Ok(Some(session(id, user_id, 0, now, expires_at))),
            [] => Ok(None),
            _ => Err(unreadable()),
        }
    }

    /// Replaces the refresh token with this counter by its successor.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn rotate(
        &self,
        id: SessionId,
        user_id: UserId,
        counter: u64,
        policy: &RotationPolicy,
        origin: &Origin,
    ) -> Result<Rotation, Error> {
        let mut call = on_session(&self.rotate, id, user_id);
        call.arg(counter)
            .arg(milliseconds(policy.idle))
            .arg(milliseconds(policy.idle_remembered))
            .arg(milliseconds(policy.grace))
            .arg(&origin.ip)
            .arg(&origin.user_agent)
            .arg(&origin.request_id);
        let (what, state) = split(self.redis.invoke(&call).await?)?;
        match (what.as_str(), &state[..]) {
            (
                "rotated",
                &[
                    counter,
                    rotated_at,
                    expires_at,
                    was_rotated_at,
                    was_expires_at,
                ],
            ) => Ok(Rotation::Rotated(Rotated {
                session: session(id, user_id, counter, rotated_at, expires_at),
                previously_rotated_at: was_rotated_at,
                previously_expired_at: was_expires_at,
            })),
            ("repeated", &[counter, rotated_at, expires_at]) => Ok(Rotation::Repeated(session(
                id, user_id, counter, rotated_at, expires_at,
            ))),
            ("gone", []) => Ok(Rotation::Gone),
            ("reused", []) => Ok(Rotation::Reused),
            _ => Err(unreadable()),
        }
    }

    /// Takes back a rotation whose successor could not be handed out, so that the client's token
    /// stays the current one however long the outage lasts.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn undo(&self, rotated: &Rotated) -> Result<(), Error> {
        let session = &rotated.session;
        let mut call = on_session(&self.undo_rotation, session.id, session.user_id);
        call.arg(session.counter)
            .arg(session.rotated_at.milliseconds())
            .arg(rotated.previously_rotated_at)
            .arg(rotated.previously_expired_at);
        self.redis.invoke(&call).await
    }

    /// Whether the session is still there.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn exists(&self, id: SessionId, user_id: UserId) -> Result<bool, Error> {
        let call = on_session(&self.exists, id, user_id);
        self.redis.invoke(&call).await
    }

    /// Whether one of the user's sessions has this address and agent, and the epoch that a sign-in which
    /// begins now is in. To be asked before, or together with, what the sign-in is judged by.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn before_sign_in(
        &self,
        user_id: UserId,
        origin: &Origin,
    ) -> Result<(bool, Epoch), Error> {
        let mut call = self.before_sign_in.call();
        call.key(sessions_key(user_id))
            .key(epoch_key(user_id))
            .arg(&origin.ip)
            .arg(&origin.user_agent);
        let (origin_is_known, epoch) = self.redis.invoke(&call).await?;
        Ok((origin_is_known, Epoch(epoch)))
    }

    /// The sessions of a user, newest first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self, user_id: UserId) -> Result<Vec<Listed>, Error> {
        type Row = (String, i64, i64, String, String);
        let mut call = self.list.call();
        call.key(sessions_key(user_id));
        let mut rows: Vec<Row> = self.redis.invoke(&call).await?;
        rows.sort_unstable_by(|one, other| (other.1, &other.0).cmp(&(one.1, &one.0)));
        let listed = |(id, created_at, last_used_at, ip, user_agent): Row| {
            Some(Listed {
                id: id.parse().ok()?,
                created_at: Timestamp::from_milliseconds(created_at),
                last_used_at: Timestamp::from_milliseconds(last_used_at),
                ip,
                user_agent,
            })
        };
        rows.into_iter()
            .map(listed)
            .collect::<Option<_>>()
            .ok_or_else(unreadable)
    }

    /// Ends one session; one that is over already is no error.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn revoke(&self, id: SessionId, user_id: UserId) -> Result<(), Error> {
        let call = on_session(&self.revoke, id, user_id);
        self.redis.invoke(&call).await
    }

    /// Ends all sessions of a user.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn revoke_all(&self, user_id: UserId) -> Result<(), Error> {
        let call = on_all(&self.revoke_all, user_id);
        self.redis.invoke(&call).await
    }

    /// Ends all sessions of a user but this one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn revoke_others(&self, id: SessionId, user_id: UserId) -> Result<(), Error> {
        let mut call = on_all(&self.revoke_others, user_id);
        call.arg(id.to_string());
        self.redis.invoke(&call).await
    }

    /// Ends all sessions of a user because this one asks for it. `false`, and nothing ended, if it
    /// is over itself while others live: whoever stole a token that was revoked since must not be
    /// able to throw its owner out.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn revoke_all_as(&self, id: SessionId, user_id: UserId) -> Result<bool, Error> {
        let mut call = on_all(&self.revoke_all, user_id);
        call.arg(id.to_string());
        self.redis.invoke(&call).await
    }
}

/// A call of a script that is about one session.
fn on_session(script: &Script, id: SessionId, user_id: UserId) -> ScriptCall<'_> {
    let mut call = script.call();
    call.key(sessions_key(user_id)).arg(id.to_string());
    call
}

/// A call of a script that ends several sessions of a user.
fn on_all(script: &Script, user_id: UserId) -> ScriptCall<'_> {
    let mut call = script.call();
    call.key(sessions_key(user_id))
        .key(epoch_key(user_id))
        .arg(milliseconds(EPOCH_KEPT));
    call
}

fn session(
    id: SessionId,
    user_id: UserId,
    counter: i64,
    rotated_at: i64,
    expires_at: i64,
) -> Session {
    Session {
        id,
        user_id,
        counter: counter.unsigned_abs(),
        rotated_at: Timestamp::from_milliseconds(rotated_at),
        expires_at: Timestamp::from_milliseconds(expires_at),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A script's answer: a word, then numbers.
fn split(answer: Vec<redis::Value>) -> Result<(String, Vec<i64>), Error> {
    let mut values = answer.into_iter();
    let word = values.next().ok_or_else(unreadable)?;
    let word = redis::from_redis_value(word).map_err(|_| unreadable())?;
    let numbers = values
        .map(redis::from_redis_value)
        .collect::<Result<_, _>>()
        .map_err(|_| unreadable())?;
    Ok((word, numbers))
}

fn unreadable() -> Error {
    Error::Unexpected("Redis: a session that no code here has written".to_owned())
}
