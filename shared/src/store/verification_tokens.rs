//! Tokens that prove an address, by their hash, in `USERS_TABLE`.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `VERIFY#<sha256 of the token>` | `TOKEN` | user_id, expires_at, ttl |

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Error;
use super::dynamodb::{self, DynamoDb, Expression, Item, TransactWriteItem};
use super::users::absent;
use crate::domain::email_token::TokenHash;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::UserId;

/// From issue to expiry: 24 h.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The verification tokens in a table. Which one of a user's is valid, the user's record says.
#[derive(Clone)]
pub struct VerificationTokens {
    dynamodb: DynamoDb,
    table: String,
}

#[derive(Serialize, Deserialize)]
struct TokenItem {
    user_id: UserId,
    expires_at: Timestamp,
    ttl: i64,
}

fn key(hash: &TokenHash) -> Item {
    dynamodb::key(format!("VERIFY#{}", hash.as_str()), "TOKEN")
}

impl VerificationTokens {
    /// The tokens in this table.
    pub fn new(dynamodb: DynamoDb, table: String) -> Self {
        Self { dynamodb, table }
    }

    /// Whose token this is, while it has not expired.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn find_user(
        &self,
        hash: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<UserId>, Error> {
        let item: Option<TokenItem> = self.dynamodb.get(&self.table, key(hash), now).await?;
        let item = item.filter(|item| now < item.expires_at);
        Ok(item.map(|item| item.user_id))
    }

    /// A new token of a user.
    pub fn create(&self, hash: &TokenHash, user_id: UserId, now: Timestamp) -> TransactWriteItem {
        let expires_at = now.plus(LIFETIME);
        let attributes = TokenItem {
            user_id,
            expires_at,
            ttl: expires_at.seconds(),
        };
        let pk = format!("VERIFY#{}", hash.as_str());
        dynamodb::put(
            &self.table,
            dynamodb::item(pk, "TOKEN", &attributes),
            absent(),
        )
    }

    /// Removes a token that was used. Refused if somebody else used it first.
    pub fn remove(&self, hash: &TokenHash) -> TransactWriteItem {
        let expression = Expression {
            condition: "attribute_exists(pk)".to_owned(),
            ..Default::default()
        };
        dynamodb::delete(&self.table, key(hash), expression)
    }
}
