//! Sessions: how long they live, and what is known of one.

use std::time::Duration;

use super::id::Id;
use super::timestamp::Timestamp;
use super::user::UserId;

/// The identifier of a session. It authenticates nothing.
pub type SessionId = Id<Session>;

/// How long a session that starts may live.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    /// Whether its owner asked to be remembered.
    pub is_remembered: bool,
    /// From one refresh to the last moment for the next.
    pub idle: Duration,
    /// From sign-in to the end, however often refreshed (ASVS 5.0, 7.3.2).
    pub maximum: Duration,
}

/// What a refresh goes by.
#[derive(Clone, Copy, Debug)]
pub struct RotationPolicy {
    /// From one refresh to the last moment for the next.
    pub idle: Duration,
    /// The same, for a session whose owner asked to be remembered.
    pub idle_remembered: Duration,
    /// How long a refresh token that was just replaced still returns its successor.
    pub grace: Duration,
}

/// A session after it was started or refreshed: all that its tokens are derived from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Names the session.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// How often it was refreshed: the one refresh token that is current carries this number.
    pub counter: u64,
    /// When that token was made.
    pub rotated_at: Timestamp,
    /// When that token expires.
    pub expires_at: Timestamp,
}
