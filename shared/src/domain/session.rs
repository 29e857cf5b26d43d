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

/// How a user signed in, as bits: the stored form of a session's `amr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthenticationMethods(u8);

impl AuthenticationMethods {
    /// A password.
    pub const PASSWORD: Self = Self(1);
    /// A password, and a code of the second factor: of an app, or a backup code.
    pub const PASSWORD_AND_CODE: Self = Self(1 | 2);

    /// A mailed code. It has no name in RFC 8176.
    pub const MAILED_CODE: Self = Self(16);
    /// A mailed code, and a code of the second factor.
    pub const MAILED_CODE_AND_CODE: Self = Self(16 | 2);
    /// A sign-in with another provider. It has no name in RFC 8176.
    pub const FEDERATED: Self = Self(32);
    /// A sign-in with another provider, and a code of the second factor.
    pub const FEDERATED_AND_CODE: Self = Self(32 | 2);
    /// A passkey, whose authenticator has verified its user: possession of a key, and the presence of the user.
    pub const PASSKEY: Self = Self(4 | 8);

    const NAMES: [(u8, &str); 6] = [
        (1, "pwd"),
        (16, "email"),
        (32, "fed"),
        (2, "otp"),
        (4, "pop"),
        (8, "user"),
    ];

    /// Returns the names, as far as there are any those of RFC 8176, 2.
    pub fn names(self) -> Vec<&'static str> {
        let used = Self::NAMES.iter().filter(|(bit, _)| self.0 & bit != 0);
        let mut names: Vec<_> = used.map(|(_, name)| *name).collect();
        if names.len() > 1 {
            names.push("mfa");
        }
        names
    }

    /// Returns the stored form.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Restores the methods from their stored form; unknown bits are left out.
    pub fn from_bits(bits: i64) -> Self {
        Self(u8::try_from(bits).unwrap_or_default())
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
    /// The time of the sign-in.
    pub signed_in_at: Timestamp,
    /// How the user signed in.
    pub methods: AuthenticationMethods,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_the_names_of_rfc_8176_and_survive_storage() {
        for (methods, names) in [
            (AuthenticationMethods::PASSWORD, vec!["pwd"]),
            (
                AuthenticationMethods::PASSWORD_AND_CODE,
                vec!["pwd", "otp", "mfa"],
            ),
            (AuthenticationMethods::MAILED_CODE, vec!["email"]),
            (
                AuthenticationMethods::MAILED_CODE_AND_CODE,
                vec!["email", "otp", "mfa"],
            ),
            (AuthenticationMethods::FEDERATED, vec!["fed"]),
            (
                AuthenticationMethods::FEDERATED_AND_CODE,
                vec!["fed", "otp", "mfa"],
            ),
            (AuthenticationMethods::PASSKEY, vec!["pop", "user", "mfa"]),
        ] {
            let stored = AuthenticationMethods::from_bits(methods.bits().into());
            assert_eq!(stored.names(), names);
        }
        assert!(AuthenticationMethods::from_bits(-1).names().is_empty());
        assert!(AuthenticationMethods::from_bits(128).names().is_empty());
    }

    #[test]
    fn the_next_epoch_is_another_one() {
        let epoch = SessionEpoch::from(7);

        assert_eq!(epoch.number(), 7);
        assert_eq!(epoch.next().number(), 8);
    }
}
