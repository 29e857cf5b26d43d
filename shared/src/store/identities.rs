//! Identities of other providers, in `CREDENTIALS_TABLE`.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `IDENTITY#<issuer>#<subject>` | `LINK` | user_id, provider, created_at; `ttl` once the account is deleted |
//!
//! The key makes each identity unique among all accounts. The user's record has the list of the user's identities
//! ([`crate::domain::user::LinkedIdentity`]), and only an identity on that list works.

use serde::{Deserialize, Serialize};

use super::Error;
use super::dynamodb::DynamoDb;
use super::items::{self, Expression, Item, TransactWriteItem, text, ttl};
use crate::config::Environment;
use crate::domain::provider::ProviderName;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{LinkedIdentity, UserId};

/// The identities of all users.
#[derive(Clone)]
pub struct Identities {
    dynamodb: DynamoDb,
    table: String,
}

/// The link from an identity to its user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The user.
    pub user_id: UserId,
    /// The provider, by its name in the configuration when the link was made.
    pub provider: ProviderName,
    /// The time of the link.
    pub created_at: Timestamp,
}

fn partition(issuer: &str, subject: &str) -> String {
    format!("IDENTITY#{issuer}#{subject}")
}

fn key(issuer: &str, subject: &str) -> Item {
    items::key(partition(issuer, subject), "LINK")
}

impl Identities {
    /// Reads the variable `CREDENTIALS_TABLE` and those of DynamoDB.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            dynamodb: DynamoDb::from_env(environment),
            table: environment.text("CREDENTIALS_TABLE"),
        }
    }

    /// Finds the link of an identity.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses or an item cannot be
    /// read.
    pub async fn find(
        &self,
        issuer: &str,
        subject: &str,
        now: Timestamp,
    ) -> Result<Option<Link>, Error> {
        let key = key(issuer, subject);
        self.dynamodb.get(&self.table, key, now).await
    }

    /// Creates a link. Refused if any account has this identity. DynamoDB deletes expired items late, so an expired link
    /// counts as free even while it is still there.
    pub fn create(
        &self,
        identity: &LinkedIdentity,
        link: &Link,
        now: Timestamp,
    ) -> TransactWriteItem {
        let expression = Expression {
            condition: "attribute_not_exists(pk) OR #ttl <= :now".to_owned(),
            values: vec![(":now", ttl(now))],
            ..Default::default()
        };
        let partition = partition(&identity.issuer, &identity.subject);
        let item = items::item(partition, "LINK", link);
        items::put(&self.table, item, expression)
    }

    /// Removes a user's link.
    pub fn remove(&self, identity: &LinkedIdentity, user_id: UserId) -> TransactWriteItem {
        let key = key(&identity.issuer, &identity.subject);
        items::delete(&self.table, key, held_by(user_id))
    }

    /// Lets the link of a deleted account expire with the account.
    pub fn expire(
        &self,
        identity: &LinkedIdentity,
        user_id: UserId,
        purge_at: Timestamp,
    ) -> TransactWriteItem {
        let key = key(&identity.issuer, &identity.subject);
        let mut expression = held_by(user_id);
        expression.update = "SET #ttl = :ttl".to_owned();
        expression.values.push((":ttl", ttl(purge_at)));
        items::update(&self.table, key, expression)
    }
}

fn held_by(id: UserId) -> Expression {
    Expression {
        condition: "#user_id = :id".to_owned(),
        values: vec![(":id", text(id.to_string()))],
        ..Default::default()
    }
}
