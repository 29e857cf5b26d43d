//! DynamoDB holds what must never be lost, Redis what may expire. Everything that is "check, then
//! write" is one atomic call: a condition, a transaction or a script.

pub mod audit;
pub mod credentials;
pub mod decoy_writes;
pub mod dynamodb;
pub mod items;
pub mod mailed_tokens;
pub mod outbox;
pub mod rate_limiter;
pub mod redis;
pub mod reset_tokens;
pub mod sessions;
pub mod suppression_list;
pub mod two_factor;
pub mod users;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not answer, or not in time; another try may succeed.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// It refused, or answered what no code here has written; another try will not help.
    #[error("unexpected: {0}")]
    Unexpected(String),
}
