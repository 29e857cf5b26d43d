//! Sessions and their lifetimes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use super::id::SessionId;
use super::id::UserId;
use super::timestamp::Timestamp;

/// The number of times that a user's sessions were ended by a change of the record: a new password, a change of the
/// second factor, a deletion. The record's epoch is incremented in the transaction of the change, and a session keeps
/// the epoch in which it started. So no session outlives the change, however late it starts and whatever fails after
/// the write. (A number instead of a time, because the clocks of two functions differ.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionEpoch(u64);

impl SessionEpoch {
    /// Returns the stored form.
    pub fn number(self) -> u64 {
        self.0
    }

    /// Returns the epoch after the next change.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl From<i64> for SessionEpoch {
    /// Restores an epoch from its stored form.
    fn from(number: i64) -> Self {
        Self(number.unsigned_abs())
    }
}

/// The lifetime of a new session.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    /// Whether the user asked to be remembered.
    pub is_remembered: bool,
    /// The time between refreshes after which the session expires.
    pub idle: Duration,
    /// The time from sign-in to the end of the session, however often it is refreshed (ASVS 5.0, 7.3.2).
    pub maximum: Duration,
}

/// The parameters of a refresh.
#[derive(Clone, Copy, Debug)]
pub struct RotationPolicy {
    /// The time between refreshes after which the session expires.
    pub idle: Duration,
    /// The same time for a session whose user asked to be remembered.
    pub idle_remembered: Duration,
    /// The grace period in which a refresh token that was just replaced still returns its successor.
    pub grace: Duration,
}

/// A session after its start or a refresh: the data from which its tokens are derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session's identifier.
    pub id: SessionId,
    /// The session's user.
    pub user_id: UserId,
    /// The session's refresh counter. The current refresh token carries this number.
    pub counter: u64,
    /// The time at which the current refresh token was made.
    pub rotated_at: Timestamp,
    /// The expiry of the current refresh token.
    pub expires_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_epoch_is_another_one() {
        let epoch = SessionEpoch::from(7);

        assert_eq!(epoch.number(), 7);
        assert_eq!(epoch.next().number(), 8);
    }
}
