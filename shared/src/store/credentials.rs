//! Password hashes, in `CREDENTIALS_TABLE`, to which most functions have no access.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `USER#01J…` | `PASSWORD` | hash (`$argon2id$v=19$…`), changed_at; `ttl` once deleted |

use serde::{Deserialize, Serialize};

use super::Error;
use super::dynamodb::DynamoDb;
use super::items::{self, Expression, Item, TransactWriteItem, text, ttl};
use super::users::partition;
use crate::config::Environment;
use crate::domain::password_hash::PasswordHash;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{User, UserId};

/// The users' password hashes.
#[derive(Clone)]
pub struct Credentials {
    dynamodb: DynamoDb,
    table: String,
}

#[derive(Serialize, Deserialize)]
struct PasswordItem {
    hash: String,
    changed_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<i64>,
}

fn password_key(id: UserId) -> Item {
    items::key(partition(id), "PASSWORD")
}

impl Credentials {
    /// Reads the variable `CREDENTIALS_TABLE` and those of DynamoDB.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            dynamodb: DynamoDb::from_env(environment),
            table: environment.text("CREDENTIALS_TABLE"),
        }
    }

    /// Finds the user's password hash.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses or an item cannot be
    /// read.
    pub async fn find_password(
        &self,
        id: UserId,
        now: Timestamp,
    ) -> Result<Option<PasswordHash>, Error> {
        let item: Option<PasswordItem> = self
            .dynamodb
            .get(&self.table, password_key(id), now)
            .await?;
        Ok(item.map(|item| PasswordHash::from_stored(item.hash)))
    }

    /// Creates the first password of a user.
    pub fn create_password(
        &self,
        user: &User,
        hash: &PasswordHash,
        now: Timestamp,
    ) -> TransactWriteItem {
        let attributes = PasswordItem {
            hash: hash.as_str().to_owned(),
            changed_at: now,
            ttl: user.ttl,
        };
        items::put(
            &self.table,
            items::item(partition(user.id), "PASSWORD", &attributes),
            Expression::item_is_absent(),
        )
    }

    /// Replaces `old` by a newer hash of the same password. Returns `false` and changes nothing if `old` is no longer
    /// stored: a password that was replaced meanwhile must not come back.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn rehash(
        &self,
        id: UserId,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, Error> {
        let expression = Expression {
            update: "SET #hash = :new".to_owned(),
            condition: "#hash = :old".to_owned(),
            values: vec![(":new", text(new.as_str())), (":old", text(old.as_str()))],
        };
        self.dynamodb
            .update(&self.table, password_key(id), expression)
            .await
    }

    /// Checks that one of these hashes is still stored; changes nothing. Closes the race between comparing a password,
    /// which takes long, and a new password set meanwhile.
    pub fn check_password(&self, id: UserId, hashes: &[PasswordHash; 2]) -> TransactWriteItem {
        let [one, other] = hashes;
        let expression = Expression {
            condition: "#hash = :one OR #hash = :other".to_owned(),
            values: vec![
                (":one", text(one.as_str())),
                (":other", text(other.as_str())),
            ],
            ..Default::default()
        };
        items::check(&self.table, password_key(id), expression)
    }

    /// Replaces `old` by a new password's hash. Refused if `old` is no longer stored.
    pub fn change_password(
        &self,
        id: UserId,
        old: &PasswordHash,
        new: &PasswordHash,
        now: Timestamp,
    ) -> TransactWriteItem {
        let expression = Expression {
            update: "SET #hash = :new, #changed_at = :now".to_owned(),
            condition: "#hash = :old".to_owned(),
            values: vec![
                (":new", text(new.as_str())),
                (":old", text(old.as_str())),
                (":now", text(now.to_string())),
            ],
        };
        items::update(&self.table, password_key(id), expression)
    }

    /// Removes the expiry of the password once the address is proven, so that it lasts as long as the account.
    pub fn keep_password(&self, id: UserId) -> TransactWriteItem {
        let expression = Expression {
            update: "REMOVE #ttl".to_owned(),
            condition: "attribute_exists(pk)".to_owned(),
            ..Default::default()
        };
        items::update(&self.table, password_key(id), expression)
    }

    /// Replaces any stored hash by a new password's hash, and removes its expiry. Refused if none is stored.
    pub fn reset_password(
        &self,
        id: UserId,
        new: &PasswordHash,
        now: Timestamp,
    ) -> TransactWriteItem {
        let expression = Expression {
            update: "SET #hash = :new, #changed_at = :now REMOVE #ttl".to_owned(),
            condition: "attribute_exists(pk)".to_owned(),
            values: vec![
                (":new", text(new.as_str())),
                (":now", text(now.to_string())),
            ],
        };
        items::update(&self.table, password_key(id), expression)
    }

    /// Removes the password of an account that is removed.
    pub fn remove_password(&self, id: UserId) -> TransactWriteItem {
        let expression = Expression::item_exists();
        items::delete(&self.table, password_key(id), expression)
    }

    /// Lets a deleted account's password expire with the account.
    pub fn expire_password(&self, id: UserId, purge_at: Timestamp) -> TransactWriteItem {
        let expression = Expression {
            update: "SET #ttl = :ttl".to_owned(),
            condition: "attribute_exists(pk)".to_owned(),
            values: vec![(":ttl", ttl(purge_at))],
        };
        items::update(&self.table, password_key(id), expression)
    }
}
