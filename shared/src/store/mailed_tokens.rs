//! Tokens that travel by mail, by their hash, in `USERS_TABLE`. (Those that allow a new password are in Redis.)
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `VERIFY#<sha256 of the token>` | `TOKEN` | user_id, expires_at, ttl (24 h); it stays after the proof, for a second click |
//! | `REJECT#<sha256 of the token>` | `TOKEN` | user_id; goes with the proof of the address, or has the account's own `ttl` |
//! | `UNDO#<sha256 of the token>` | `TOKEN` | user_id, expires_at, ttl (72 h) |

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Error;
use super::dynamodb::DynamoDb;
use super::items::{self, Expression, Item, TransactWriteItem};
use crate::config::Environment;
use crate::domain::email_token::{Purpose, TokenHash};
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{Rejection, UserId};

/// From issue to expiry of a token that proves an address: 24 h.
const VERIFICATION_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// The same of a token that turns the second factor off again: 72 h.
const UNDO_LIFETIME: Duration = Duration::from_secs(72 * 60 * 60);

/// The mailed tokens in a table. Which one of a user's is valid, the user's record says.
#[derive(Clone)]
pub struct MailedTokens {
    dynamodb: DynamoDb,
    table: String,
}

#[derive(Serialize, Deserialize)]
struct TokenItem {
    user_id: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<i64>,
}

fn partition(purpose: Purpose, hash: &TokenHash) -> String {
    let prefix = match purpose {
        Purpose::VerifyEmail => "VERIFY",
        Purpose::RejectEmail => "REJECT",
        Purpose::UndoTwoFactor => "UNDO",
        Purpose::ResetPassword => "RESET",
    };
    format!("{prefix}#{}", hash.as_str())
}

fn key(purpose: Purpose, hash: &TokenHash) -> Item {
    items::key(partition(purpose, hash), "TOKEN")
}

impl MailedTokens {
    /// Reads the variable `USERS_TABLE` and those of DynamoDB.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            dynamodb: DynamoDb::from_env(environment),
            table: environment.text("USERS_TABLE"),
        }
    }

    /// Whose token this is, while it has not expired.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn find(
        &self,
        purpose: Purpose,
        hash: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<UserId>, Error> {
        let key = key(purpose, hash);
        let item: Option<TokenItem> = self.dynamodb.get(&self.table, key, now).await?;
        let item = item.filter(|item| item.expires_at.is_none_or(|expiry| now < expiry));
        Ok(item.map(|item| item.user_id))
    }

    /// A new token that proves an address.
    pub fn create_verification(
        &self,
        hash: &TokenHash,
        user_id: UserId,
        now: Timestamp,
    ) -> TransactWriteItem {
        let expires_at = now.plus(VERIFICATION_LIFETIME);
        self.create(Purpose::VerifyEmail, hash, user_id, Some(expires_at))
    }

    /// A new token that turns the second factor off again.
    pub fn create_undo(
        &self,
        hash: &TokenHash,
        user_id: UserId,
        now: Timestamp,
    ) -> TransactWriteItem {
        let expires_at = now.plus(UNDO_LIFETIME);
        self.create(Purpose::UndoTwoFactor, hash, user_id, Some(expires_at))
    }

    /// A new token that removes an account whose address nobody has proven; it lasts as long as that.
    pub fn create_rejection(
        &self,
        hash: &TokenHash,
        user_id: UserId,
        expires_at: Option<Timestamp>,
    ) -> TransactWriteItem {
        self.create(Purpose::RejectEmail, hash, user_id, expires_at)
    }

    fn create(
        &self,
        purpose: Purpose,
        hash: &TokenHash,
        user_id: UserId,
        expires_at: Option<Timestamp>,
    ) -> TransactWriteItem {
        let attributes = TokenItem {
            user_id,
            expires_at,
            ttl: expires_at.map(Timestamp::seconds),
        };
        let item = items::item(partition(purpose, hash), "TOKEN", &attributes);
        items::put(&self.table, item, Expression::item_is_absent())
    }

    /// Removes a token that was used. Refused if somebody else used it first.
    pub fn remove(&self, purpose: Purpose, hash: &TokenHash) -> TransactWriteItem {
        let expression = Expression::item_exists();
        items::delete(&self.table, key(purpose, hash), expression)
    }

    /// Removes the token that nobody needs once the address is proven, or the account is gone.
    pub fn discard_rejection(&self, rejection: &Rejection) -> TransactWriteItem {
        self.remove(Purpose::RejectEmail, &rejection.token)
    }
}
