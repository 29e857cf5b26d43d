//! Identities of other providers, in `CREDENTIALS_TABLE`.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `IDENTITY#<issuer>#<subject>` | `LINK` | user_id, provider, created_at, tokens (encrypted, if they are kept); `ttl` once the account is deleted |
//!
//! The key makes each identity unique among all accounts. The user's record has the list of the user's identities
//! ([`crate::domain::user::LinkedIdentity`]), and only an identity on that list works.

use serde::{Deserialize, Serialize};

use super::Error;
use super::dynamodb::DynamoDb;
use super::items::{self, Expression, Item, TransactWriteItem, text, ttl};
use crate::config::Environment;
use crate::domain::encryption::Sealed;
use crate::domain::provider::{IdentityId, ProviderName};
use crate::domain::timestamp::Timestamp;
use crate::domain::user::UserId;

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
    /// The provider's tokens of the last sign-in, if they are kept, encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Sealed>,
}

fn partition(id: &IdentityId) -> String {
    format!("IDENTITY#{}#{}", id.issuer, id.subject)
}

fn key(id: &IdentityId) -> Item {
    items::key(partition(id), "LINK")
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
    pub async fn find(&self, id: &IdentityId, now: Timestamp) -> Result<Option<Link>, Error> {
        let key = key(id);
        self.dynamodb.get(&self.table, key, now).await
    }

    /// Creates a link. Refused if any account has this identity.
    pub fn create(&self, id: &IdentityId, link: &Link, now: Timestamp) -> TransactWriteItem {
        let item = items::item(partition(id), "LINK", link);
        items::put(&self.table, item, Expression::item_is_free(now))
    }

    /// Replaces the tokens that are kept.
    pub fn keep_tokens(
        &self,
        id: &IdentityId,
        user_id: UserId,
        tokens: &Sealed,
    ) -> TransactWriteItem {
        let mut expression = Expression::held_by(user_id);
        expression.update = "SET #tokens = :tokens".to_owned();
        expression.values.push((":tokens", text(tokens.as_str())));
        items::update(&self.table, key(id), expression)
    }

    /// Removes a user's link.
    pub fn remove(&self, id: &IdentityId, user_id: UserId) -> TransactWriteItem {
        items::delete(&self.table, key(id), Expression::held_by(user_id))
    }

    /// Lets the link of a deleted account expire with the account.
    pub fn expire(
        &self,
        id: &IdentityId,
        user_id: UserId,
        purge_at: Timestamp,
    ) -> TransactWriteItem {
        let mut expression = Expression::held_by(user_id);
        expression.update = "SET #ttl = :ttl".to_owned();
        expression.values.push((":ttl", ttl(purge_at)));
        items::update(&self.table, key(id), expression)
    }
}
