//! Sessions: how long they live, and what is known of one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use super::id::SessionId;
use super::id::UserId;
use super::timestamp::Timestamp;

/// How often a user's sessions were ended by a change of the record: a new password, the second factor, a
/// deletion. The record counts it in the transaction of the change, and a session keeps the number that it was
/// started with; so none outlives the change, however late it starts and whatever fails after the write. (A
/// count and no time: the clocks of two functions differ.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionEpoch(u64);

impl SessionEpoch {
    /// As it is stored.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The one that begins with the next change.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl From<i64> for SessionEpoch {
    /// From the store.
    fn from(number: i64) -> Self {
        Self(number.unsigned_abs())
    }
}

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
