//! Sessions: how long they live, and what is known of one.

use std::time::Duration;

use super::id::Id;
use super::timestamp::Timestamp;
use super::user::UserId;

/// The identifier of a session. It authenticates nothing.
pub type SessionId = Id<Session>;

/// How long sessions live.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// From one refresh to the last moment for the next.
    pub refresh: Duration,
    /// The same, with `rememberMe`.
    pub remember_me: Duration,
    /// From sign-in to the end, however often refreshed (ASVS 5.0, 7.3.2).
    pub maximum: Duration,
    /// How long a refresh token that was just replaced still returns its successor.
    pub grace: Duration,
}

impl Lifetimes {
    /// How long the next refresh may take.
    pub fn idle(&self, remember_me: bool) -> Duration {
        if remember_me {
            self.remember_me
        } else {
            self.refresh
        }
    }
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
