//! Stores. DynamoDB holds data that must never be lost, Redis holds data that may expire, KMS may hold the key of access
//! tokens. Every "check, then write" is one atomic call: a condition, a transaction or a script.

pub mod audit;
pub mod credentials;
pub mod decoy_writes;
pub mod dynamodb;
pub mod identities;
pub mod items;
pub mod kms;
pub mod mailed_codes;
pub mod mailed_tokens;
pub mod oauth_requests;
pub mod outbox;
pub mod passkey_challenges;
pub mod passkeys;
pub mod rate_limiter;
pub mod redis;
pub mod reset_tokens;
pub mod sessions;
pub mod suppression_list;
pub mod two_factor;
pub mod users;

/// Why a store did not carry out a call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store does not answer, or not in time; another try may succeed.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// Other transactions on the same item prevented the write, again and again; another try may succeed.
    #[error("unavailable: conflicting transactions")]
    Conflict,
    /// The store refused the call, or returned data that this code did not write; another try will not help.
    #[error("unexpected: {0}")]
    Unexpected(String),
}
