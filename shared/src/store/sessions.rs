//! Sessions, in Redis: the authority on who is signed in.
//!
//! | key | type | content |
//! |---|---|---|
//! | `sessions:{<userId>}` | hash | for each session id JSON: counter, rotated_at, created_at, last_used_at, expires_at, absolute_expires_at (ms), rotated_by, ip, network, user_agent, role, remember, epoch, amr (the bits of [`AuthenticationMethods`]), repeated_elsewhere |
//! | `devices:{<userId>}` | hash | for each device id JSON: created_at, last_used_at, expires_at (ms), ip, user_agent |
//!
//! One key holds all sessions of a user: a script must name every key that it touches, and a script that ends all
//! sessions cannot know their ids. The braces are literal: they keep all keys of one script in one slot of a cluster.
//! Each change is one script, so that a refresh cannot outrun a revocation. Only the server's clock counts, so that
//! functions with different clocks agree.
//!
//! A new password, a change of the second factor and a deletion end sessions by the user's record, in the same
//! transaction: sessions of an epoch before the record's have ended, even if they are still stored here (see
//! [`SessionEpoch`]).

use std::str::FromStr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::Error;
use super::redis::{Redis, Script, ScriptCall};
use crate::config::Environment;
use crate::domain::client_address::ClientAddress;
use crate::domain::client_info::ClientInfo;
use crate::domain::device_token::{self, Device, DeviceId};
use crate::domain::id::Id;
use crate::domain::session::{
    AuthenticationMethods, Lifetime, RotationPolicy, Session, SessionEpoch, SessionId,
};
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{Role, SignInAllowed, UserId};

/// The maximum number of sessions per user; beyond it the oldest session is ended.
const MAX_SESSIONS: usize = 10;
/// The maximum number of devices per user; beyond it the device with the oldest sign-in is removed.
const MAX_DEVICES: usize = 10;

/// The sessions of all users.
pub struct Sessions {
    redis: Arc<Redis>,
    start: LazyLock<Script>,
    find: LazyLock<Script>,
    rotate: LazyLock<Script>,
    undo_rotation: LazyLock<Script>,
    revoke: LazyLock<Script>,
    revoke_all: LazyLock<Script>,
    revoke_others: LazyLock<Script>,
    before_sign_in: LazyLock<Script>,
    list: LazyLock<Script>,
}

/// A session that begins.
#[derive(Clone, Copy, Debug)]
pub struct NewSession {
    /// The session's identifier.
    pub id: SessionId,
    /// How the user signed in.
    pub methods: AuthenticationMethods,
    /// The session's lifetime.
    pub lifetime: Lifetime,
    /// The epoch to which the session belongs.
    pub epoch: SessionEpoch,
    /// The device on which the user signs in.
    pub device: DeviceId,
}

/// A live session as read from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveSession {
    /// The time since the user signed in.
    pub age: Duration,
    /// The epoch in which the session started.
    pub epoch: SessionEpoch,
}

/// What the store knows about the origin of a sign-in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownClient {
    /// Whether a session was last used from this address with this agent.
    pub client: bool,
    /// Whether the device is one of the user's.
    pub device: bool,
}

/// The outcome of presenting a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The token was the current one and has been replaced; with the epoch of the session.
    Rotated(Rotated, SessionEpoch),
    /// The token was replaced within the grace period; its successor is returned again.
    Repeated(Session, SessionEpoch, Repetition),
    /// The session has ended.
    Ended,
    /// The token had been replaced before; the session has been ended (RFC 9700, 4.14.2).
    Reused,
}

/// Who asks for a successor that was already handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repetition {
    /// The same agent in the same network as before.
    Same,
    /// Another client: perhaps somebody who copied the token.
    Elsewhere {
        /// Whether this is the first time in this session.
        is_first: bool,
    },
}

/// A rotation, with the state of the session before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The session with its new token.
    pub session: Session,
    previously_rotated_at: i64,
    previously_expired_at: i64,
}

/// A session or a device as shown to its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEntry<I> {
    /// The session's or device's identifier.
    pub id: I,
    /// The time of the sign-in; for a device, of the first sign-in.
    pub created_at: Timestamp,
    /// The time of the last refresh; for a device, of the last sign-in.
    pub last_used_at: Timestamp,
    /// The IP address of the last use.
    pub ip: String,
    /// The user agent of the last use.
    pub user_agent: String,
    /// The epoch in which the session started; 0 for a device.
    pub epoch: SessionEpoch,
}

fn sessions_key(user_id: UserId) -> String {
    format!("sessions:{{{user_id}}}")
}

fn devices_key(user_id: UserId) -> String {
    format!("devices:{{{user_id}}}")
}

/// Builds a script from the shared beginning of all session scripts and its own file.
macro_rules! script {
    ($file:literal) => {
        script!($file, new)
    };
    ($file:literal, $kind:ident) => {
        LazyLock::new(|| {
            Script::$kind(concat!(
                include_str!("scripts/sessions.lua"),
                include_str!(concat!("scripts/", $file, ".lua"))
            ))
        })
    };
}

impl Sessions {
    /// Reads the variables of Redis.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            redis: Redis::from_env(environment),
            start: script!("start_session"),
            find: script!("find_session", read_only),
            rotate: script!("rotate_session"),
            undo_rotation: script!("undo_rotation"),
            revoke: script!("revoke_session"),
            revoke_all: script!("revoke_all_sessions"),
            revoke_others: script!("revoke_other_sessions"),
            before_sign_in: script!("before_sign_in"),
            list: script!("list_sessions"),
        }
    }

    /// Starts a session on a device.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn start(
        &self,
        new: &NewSession,
        allowed: SignInAllowed<'_>,
        client: &ClientInfo,
    ) -> Result<Session, Error> {
        let (user_id, role) = (allowed.user().id, allowed.user().role);
        let lifetime = &new.lifetime;
        let mut call = on_user(&self.start, user_id);
        call.arg(new.id.to_string())
            .arg(milliseconds(lifetime.idle))
            .arg(milliseconds(lifetime.maximum))
            .arg(&client.ip)
            .arg(&client.user_agent)
            .arg(match role {
                Role::User => "user",
                Role::Admin => "admin",
            })
            .arg(u8::from(lifetime.is_remembered))
            .arg(MAX_SESSIONS)
            .arg(new.epoch.number())
            .arg(new.device.to_string())
            .arg(milliseconds(device_token::LIFETIME))
            .arg(MAX_DEVICES)
            .arg(new.methods.bits());
        let times: Vec<i64> = self.redis.invoke(&call).await?;
        match times[..] {
            [now, expires_at] => Ok(Session {
                id: new.id,
                user_id,
                counter: 0,
                rotated_at: Timestamp::from_milliseconds(now),
                expires_at: Timestamp::from_milliseconds(expires_at),
                signed_in_at: Timestamp::from_milliseconds(now),
                methods: new.methods,
            }),
            _ => Err(unexpected_data()),
        }
    }

    /// Replaces the refresh token with this counter by its successor.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn rotate(
        &self,
        id: SessionId,
        user_id: UserId,
        counter: u64,
        policy: &RotationPolicy,
        client: &ClientInfo,
    ) -> Result<Rotation, Error> {
        let network = ClientAddress::parse(&client.ip).map(ClientAddress::network);
        let mut call = on_session(&self.rotate, id, user_id);
        call.arg(counter)
            .arg(milliseconds(policy.idle))
            .arg(milliseconds(policy.idle_remembered))
            .arg(milliseconds(policy.grace))
            .arg(&client.ip)
            .arg(&client.user_agent)
            .arg(&client.request_id)
            .arg(network.unwrap_or_default());
        let (what, state) = split(self.redis.invoke(&call).await?)?;
        let (state, rest) = state.split_at(state.len().min(STATE));
        let session = session(id, user_id, state);
        match (what.as_str(), session, rest) {
            ("rotated", Some((session, epoch)), &[was_rotated_at, was_expires_at]) => {
                let rotated = Rotated {
                    session,
                    previously_rotated_at: was_rotated_at,
                    previously_expired_at: was_expires_at,
                };
                Ok(Rotation::Rotated(rotated, epoch))
            }
            ("repeated", Some((session, epoch)), &[suspicion]) => {
                let repetition = match suspicion {
                    0 => Repetition::Same,
                    _ => Repetition::Elsewhere {
                        is_first: suspicion == 2,
                    },
                };
                Ok(Rotation::Repeated(session, epoch, repetition))
            }
            ("gone", None, []) => Ok(Rotation::Ended),
            ("reused", None, []) => Ok(Rotation::Reused),
            _ => Err(unexpected_data()),
        }
    }

    /// Undoes a rotation whose successor could not be handed out, so that the client's token stays the current one,
    /// however long the outage lasts.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn undo(&self, rotated: &Rotated) -> Result<(), Error> {
        let session = &rotated.session;
        let mut call = on_session(&self.undo_rotation, session.id, session.user_id);
        call.arg(session.counter)
            .arg(session.rotated_at.milliseconds())
            .arg(rotated.previously_rotated_at)
            .arg(rotated.previously_expired_at);
        self.redis.invoke(&call).await
    }

    /// Finds a session; `None` if it has ended.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn find(&self, id: SessionId, user_id: UserId) -> Result<Option<LiveSession>, Error> {
        let call = on_session(&self.find, id, user_id);
        let found: Vec<i64> = self.redis.invoke(&call).await?;
        match found[..] {
            [age, epoch] => Ok(Some(LiveSession {
                age: Duration::from_millis(u64::try_from(age).unwrap_or_default()),
                epoch: SessionEpoch::from(epoch),
            })),
            [] => Ok(None),
            _ => Err(unexpected_data()),
        }
    }

    /// Returns whether the address, agent and device of a sign-in are known.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn known_client(
        &self,
        user_id: UserId,
        device: Option<DeviceId>,
        client: &ClientInfo,
    ) -> Result<KnownClient, Error> {
        let mut call = on_user(&self.before_sign_in, user_id);
        call.arg(&client.ip)
            .arg(&client.user_agent)
            .arg(device.map(|id| id.to_string()).unwrap_or_default());
        let (client, device) = self.redis.invoke(&call).await?;
        Ok(KnownClient { client, device })
    }

    /// Lists a user's sessions and devices, newest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn list(
        &self,
        user_id: UserId,
    ) -> Result<(Vec<ListEntry<SessionId>>, Vec<ListEntry<DeviceId>>), Error> {
        let call = on_user(&self.list, user_id);
        let (sessions, devices) = self.redis.invoke(&call).await?;
        Ok((listed(sessions)?, listed(devices)?))
    }

    /// Ends the session, or removes the device, with this id. Returns `false` if it had already ended.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn revoke<T>(&self, id: Id<T>, user_id: UserId) -> Result<bool, Error> {
        let mut call = on_user(&self.revoke, user_id);
        call.arg(id.to_string());
        self.redis.invoke(&call).await
    }

    /// Ends all sessions and removes all devices of a user.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn revoke_all(&self, user_id: UserId) -> Result<(), Error> {
        let call = on_user(&self.revoke_all, user_id);
        self.redis.invoke(&call).await
    }

    /// Ends all sessions of a user except this one.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn revoke_others(&self, id: SessionId, user_id: UserId) -> Result<(), Error> {
        let mut call = on_user(&self.revoke_others, user_id);
        call.arg(id.to_string());
        self.redis.invoke(&call).await
    }

    /// Ends all sessions of the device's user except this one, and replaces all devices by `device`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn revoke_others_and_devices(
        &self,
        id: SessionId,
        device: Device,
        client: &ClientInfo,
    ) -> Result<(), Error> {
        let mut call = on_user(&self.revoke_others, device.user_id);
        call.arg(id.to_string())
            .arg(device.id.to_string())
            .arg(&client.ip)
            .arg(&client.user_agent)
            .arg(milliseconds(device_token::LIFETIME))
            .arg(MAX_DEVICES);
        self.redis.invoke(&call).await
    }

    /// Ends all sessions and removes all devices of a user at the request of this session. Returns `false` and ends
    /// nothing if this session has itself ended while others live: somebody who stole a token that was revoked since
    /// must not be able to sign the owner out.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn revoke_all_by_session(
        &self,
        id: SessionId,
        user_id: UserId,
    ) -> Result<bool, Error> {
        let mut call = on_user(&self.revoke_all, user_id);
        call.arg(id.to_string());
        self.redis.invoke(&call).await
    }
}

/// Starts a call of a script about a user's sessions and devices.
fn on_user(script: &Script, user_id: UserId) -> ScriptCall<'_> {
    let mut call = script.call();
    call.key(sessions_key(user_id)).key(devices_key(user_id));
    call
}

/// Starts a call of a script about one session.
fn on_session(script: &Script, id: SessionId, user_id: UserId) -> ScriptCall<'_> {
    let mut call = script.call();
    call.key(sessions_key(user_id)).arg(id.to_string());
    call
}

type Row = (String, i64, i64, String, String, i64);

/// Parses the rows and sorts them, newest first.
fn listed<I: FromStr>(mut rows: Vec<Row>) -> Result<Vec<ListEntry<I>>, Error> {
    rows.sort_unstable_by(|one, other| (other.1, &other.0).cmp(&(one.1, &one.0)));
    let listed = |(id, created_at, last_used_at, ip, user_agent, epoch): Row| {
        Some(ListEntry {
            id: id.parse().ok()?,
            created_at: Timestamp::from_milliseconds(created_at),
            last_used_at: Timestamp::from_milliseconds(last_used_at),
            ip,
            user_agent,
            epoch: SessionEpoch::from(epoch),
        })
    };
    let listed = rows.into_iter().map(listed).collect::<Option<_>>();
    listed.ok_or_else(unexpected_data)
}

/// How many numbers describe a session after a refresh.
const STATE: usize = 6;

/// Returns the session and its epoch from these numbers.
fn session(id: SessionId, user_id: UserId, state: &[i64]) -> Option<(Session, SessionEpoch)> {
    let &[epoch, counter, rotated_at, expires_at, created_at, amr] = state else {
        return None;
    };
    let session = Session {
        id,
        user_id,
        counter: counter.unsigned_abs(),
        rotated_at: Timestamp::from_milliseconds(rotated_at),
        expires_at: Timestamp::from_milliseconds(expires_at),
        signed_in_at: Timestamp::from_milliseconds(created_at),
        methods: AuthenticationMethods::from_bits(amr),
    };
    Some((session, SessionEpoch::from(epoch)))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Splits a script's answer into its first word and the numbers after it.
fn split(answer: Vec<redis::Value>) -> Result<(String, Vec<i64>), Error> {
    let mut values = answer.into_iter();
    let word = values.next().ok_or_else(unexpected_data)?;
    let word = redis::from_redis_value(word).map_err(|_| unexpected_data())?;
    let numbers = values
        .map(redis::from_redis_value)
        .collect::<Result<_, _>>()
        .map_err(|_| unexpected_data())?;
    Ok((word, numbers))
}

fn unexpected_data() -> Error {
    Error::Unexpected("Redis: a session that no code here has written".to_owned())
}
