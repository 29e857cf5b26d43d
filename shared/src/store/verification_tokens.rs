//! Tokens that prove an address, by their hash, in `USERS_TABLE`.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `VERIFY#<sha256 of the token>` | `TOKEN` | user_id, expires_at, ttl |

use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;
use serde::Serialize;

use super::dynamodb;
use super::users::absent;
use crate::domain::email_token::TokenHash;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::UserId;

/// From issue to expiry: 24 h.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The verification tokens in a table.
#[derive(Clone)]
pub struct VerificationTokens {
    table: String,
}

#[derive(Serialize)]
struct TokenItem {
    user_id: UserId,
    expires_at: Timestamp,
    ttl: i64,
}

impl VerificationTokens {
    /// The tokens in this table.
    pub fn new(table: String) -> Self {
        Self { table }
    }

    /// A new token of a user.
    pub fn create(&self, hash: &TokenHash, user_id: UserId, now: Timestamp) -> TransactWriteItem {
        let expires_at = now.plus(LIFETIME);
        let attributes = TokenItem {
            user_id,
            expires_at,
            ttl: expires_at.seconds(),
        };
        dynamodb::put(
            &self.table,
            dynamodb::item(format!("VERIFY#{}", hash.as_str()), "TOKEN", &attributes),
            absent(),
        )
    }
}
