//! Sessions, in Redis: the truth about being signed in.
//!
//! | key | type | content |
//! |---|---|---|
//! | `refresh_token:{<userId>}:<sessionId>` | hash | counter, rotated_at, created_at, last_used_at, expires_at, absolute_expires_at (ms), ip, user_agent, role, remember |
//! | `sessions:{<userId>}` | sorted set | session ids by creation |
//!
//! The braces are literal: they keep what one script touches in one slot of a cluster. Each change
//! is one script over the session's hash, so that a refresh cannot outrun a revocation, and the
//! server's clock alone decides, so that functions with different clocks agree.

use redis::Script;

use super::Error;
use super::redis::Redis;
use crate::domain::session::{Lifetimes, Session, SessionId};
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{Role, UserId};
use crate::store::audit::Origin;

/// The newest sessions of a user stay, the oldest beyond this number is ended.
const MOST_SESSIONS: usize = 10;

/// The sessions of all users.
pub struct Sessions {
    redis: Redis,
    start: Script,
    rotate: Script,
    end: Script,
    end_all: Script,
}

/// What became of a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// It was the current one; the session has a new one.
    Rotated(Session),
    /// It was replaced a moment ago; this is its successor once more.
    Repeated(Session),
    /// Its session is over.
    Gone,
    /// It was replaced before; the session has been ended (RFC 9700, 4.14.2).
    Reused,
}

fn session_key(user_id: UserId, id: SessionId) -> String {
    format!("{}{id}", session_prefix(user_id))
}

fn session_prefix(user_id: UserId) -> String {
    format!("refresh_token:{{{user_id}}}:")
}

fn set_key(user_id: UserId) -> String {
    format!("sessions:{{{user_id}}}")
}

impl Sessions {
    /// The sessions kept there.
    pub fn new(redis: Redis) -> Self {
        Self {
            redis,
            start: Script::new(include_str!("scripts/start_session.lua")),
            rotate: Script::new(include_str!("scripts/rotate_session.lua")),
            end: Script::new(include_str!("scripts/end_session.lua")),
            end_all: Script::new(include_str!("scripts/end_all_sessions.lua")),
        }
    }

    /// Starts a session.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn start(
        &self,
        id: SessionId,
        user_id: UserId,
        role: Role,
        remember_me: bool,
        lifetimes: &Lifetimes,
        origin: &Origin,
    ) -> Result<Session, Error> {
        let mut call = self.start.prepare_invoke();
        call.key(session_key(user_id, id))
            .key(set_key(user_id))
            .arg(id.to_string())
            .arg(milliseconds(lifetimes.idle(remember_me)))
            .arg(milliseconds(lifetimes.maximum))
            .arg(&origin.ip)
            .arg(&origin.user_agent)
            .arg(match role {
                Role::User => "user",
                Role::Admin => "admin",
            })
            .arg(u8::from(remember_me))
            .arg(MOST_SESSIONS);
        let (now, expires_at): (i64, i64) = self.redis.invoke(&call).await?;
        Ok(Session {
            id,
            user_id,
            counter: 0,
            rotated_at: Timestamp::from_milliseconds(now),
            expires_at: Timestamp::from_milliseconds(expires_at),
        })
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
        lifetimes: &Lifetimes,
        origin: &Origin,
    ) -> Result<Rotation, Error> {
        let mut call = self.rotate.prepare_invoke();
        call.key(session_key(user_id, id))
            .key(set_key(user_id))
            .arg(id.to_string())
            .arg(counter)
            .arg(milliseconds(lifetimes.refresh))
            .arg(milliseconds(lifetimes.remember_me))
            .arg(milliseconds(lifetimes.grace))
            .arg(&origin.ip)
            .arg(&origin.user_agent);
        let (what, state): (String, Vec<i64>) = split(self.redis.invoke(&call).await?)?;
        let session = || match state[..] {
            [counter, rotated_at, expires_at] => Ok(Session {
                id,
                user_id,
                counter: counter.unsigned_abs(),
                rotated_at: Timestamp::from_milliseconds(rotated_at),
                expires_at: Timestamp::from_milliseconds(expires_at),
            }),
            _ => Err(unreadable()),
        };
        match what.as_str() {
            "rotated" => Ok(Rotation::Rotated(session()?)),
            "repeated" => Ok(Rotation::Repeated(session()?)),
            "gone" => Ok(Rotation::Gone),
            "reused" => Ok(Rotation::Reused),
            _ => Err(unreadable()),
        }
    }

    /// Whether the session is still there.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn exists(&self, id: SessionId, user_id: UserId) -> Result<bool, Error> {
        self.redis
            .run(redis::cmd("EXISTS").arg(session_key(user_id, id)))
            .await
    }

    /// Ends one session; one that is over already is no error.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn end(&self, id: SessionId, user_id: UserId) -> Result<(), Error> {
        let mut call = self.end.prepare_invoke();
        call.key(session_key(user_id, id))
            .key(set_key(user_id))
            .arg(id.to_string());
        self.redis.invoke(&call).await
    }

    /// Ends all sessions of a user.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn end_all(&self, user_id: UserId) -> Result<(), Error> {
        let mut call = self.end_all.prepare_invoke();
        call.key(set_key(user_id)).arg(session_prefix(user_id));
        self.redis.invoke(&call).await
    }

    /// Ends all sessions of a user because this one asks for it: one that is over has no say any more.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn end_all_as(&self, id: SessionId, user_id: UserId) -> Result<(), Error> {
        let mut call = self.end_all.prepare_invoke();
        call.key(set_key(user_id))
            .key(session_key(user_id, id))
            .arg(session_prefix(user_id));
        self.redis.invoke(&call).await
    }
}

fn milliseconds(duration: std::time::Duration) -> u64 {
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
