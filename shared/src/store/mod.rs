//! DynamoDB holds what must never be lost, Redis what may expire. Everything that is "check, then
//! write" is one atomic call: a condition, a transaction or a script.

pub mod addresses;
pub mod audit;
pub mod credentials;
pub mod dynamodb;
pub mod outbox;
pub mod rate_limiter;
pub mod redis;
pub mod reset_tokens;
pub mod sessions;
pub mod stand_ins;
pub mod two_factor;
pub mod users;
pub mod verification_tokens;

use std::fmt;

/// Why a store did not do what it was asked.
#[derive(Debug)]
pub enum Error {
    /// It does not answer, or not in time; another try may succeed.
    Unavailable(String),
    /// It refused, or answered what no code here has written; another try will not help.
    Unexpected(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(what) => write!(f, "unavailable: {what}"),
            Self::Unexpected(what) => write!(f, "unexpected: {what}"),
        }
    }
}

impl std::error::Error for Error {}
