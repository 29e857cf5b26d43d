//! Tokens sent by mail, stored by their hash in `USERS_TABLE`. (Password reset tokens are in Redis.)
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `VERIFY#<sha256 of the token>` | `TOKEN` | user_id, expires_at, ttl (24 h); it stays after the proof, for a second click |
//! | `REJECT#<sha256 of the token>` | `TOKEN` | user_id; removed when the address is proven, or expires with the account's own `ttl` |
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

/// The lifetime of a token that proves an address: 24 h.
const VERIFICATION_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// The lifetime of a token that turns the second factor off: 72 h.
const UNDO_LIFETIME: Duration = Duration::from_secs(72 * 60 * 60);

/// The mailed tokens in a table. The user's record says which of a user's tokens is valid.
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

    /// Finds the user of a token that has not expired.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses or an item cannot be
    /// read.
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

    /// Creates a token that proves an address.
    pub fn create_verification(
        &self,
        hash: &TokenHash,
        user_id: UserId,
        now: Timestamp,
    ) -> TransactWriteItem {
        let expires_at = now.plus(VERIFICATION_LIFETIME);
        self.create(Purpose::VerifyEmail, hash, user_id, Some(expires_at))
    }

    /// Creates a token that turns the second factor off.
    pub fn create_undo(
        &self,
        hash: &TokenHash,
        user_id: UserId,
        now: Timestamp,
    ) -> TransactWriteItem {
        let expires_at = now.plus(UNDO_LIFETIME);
        self.create(Purpose::UndoTwoFactor, hash, user_id, Some(expires_at))
    }

    /// Creates a token that removes an account with an unproven address; it lasts as long as that account.
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

    /// Removes a used token. Refused if it was used already.
    pub fn remove(&self, purpose: Purpose, hash: &TokenHash) -> TransactWriteItem {
        let expression = Expression::item_exists();
        items::delete(&self.table, key(purpose, hash), expression)
    }

    /// Removes the rejection token once the address is proven, or the account removed.
    pub fn discard_rejection(&self, rejection: &Rejection) -> TransactWriteItem {
        self.remove(Purpose::RejectEmail, &rejection.token)
    }
}
