//! What can sign somebody in, in `CREDENTIALS_TABLE`, which most functions cannot reach.
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

    /// The user's password hash.
    ///
    /// # Errors
    /// Those of the store.
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

    /// The first password of a user.
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

    /// Puts a newer hash of the same password in the place of `old`; `false`, and nothing happens, if that
    /// is not the stored one any more: a password that was changed meanwhile must not come back.
    ///
    /// # Errors
    /// Those of the store.
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

    /// Changes nothing; refused if none of these is the stored hash any more. Closes the race between
    /// comparing a password, which takes long, and a new one that is set meanwhile.
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

    /// Puts a new password in the place of `old`. Refused if that is not the stored one any more.
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

    /// The password of an account whose address is proven lasts as it does.
    pub fn keep_password(&self, id: UserId) -> TransactWriteItem {
        let expression = Expression {
            update: "REMOVE #ttl".to_owned(),
            condition: "attribute_exists(pk)".to_owned(),
            ..Default::default()
        };
        items::update(&self.table, password_key(id), expression)
    }

    /// Puts a new password in the place of whatever there is, for good. Refused where there is none.
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

    /// Lets a deleted account's password go with the account.
    pub fn expire_password(&self, id: UserId, purge_at: Timestamp) -> TransactWriteItem {
        let expression = Expression {
            update: "SET #ttl = :ttl".to_owned(),
            condition: "attribute_exists(pk)".to_owned(),
            values: vec![(":ttl", ttl(purge_at))],
        };
        items::update(&self.table, password_key(id), expression)
    }
}
