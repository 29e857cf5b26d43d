//! SuppressionList that get no mail any more, marked at the claim on them, in `USERS_TABLE`. The mark goes with
//! the claim: whoever registers a freed address begins without one.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `EMAIL#ada@example.com` | `CLAIM` | the claim's, and undeliverable (`bounce`, `complaint`), undeliverable_at |

use serde::Deserialize;

use super::Error;
use super::dynamodb::DynamoDb;
use super::items::{Expression, text};
use super::users::email_key;
use crate::config::Environment;
use crate::domain::email_address::EmailAddress;
use crate::domain::timestamp::Timestamp;

/// Why mails to an address are pointless, or unwelcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undeliverable {
    /// There is no such mailbox.
    Bounce,
    /// Its owner marked a mail as spam.
    Complaint,
}

impl Undeliverable {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bounce => "bounce",
            Self::Complaint => "complaint",
        }
    }
}

/// The addresses of a table.
#[derive(Clone)]
pub struct SuppressionList {
    dynamodb: DynamoDb,
    table: String,
}

#[derive(Deserialize)]
struct Mark {
    undeliverable: Option<String>,
}

impl SuppressionList {
    /// Reads the variable `USERS_TABLE` and those of DynamoDB.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            dynamodb: DynamoDb::from_env(environment),
            table: environment.text("USERS_TABLE"),
        }
    }

    /// Marks an address; `false` where nobody has it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn mark(
        &self,
        address: &EmailAddress,
        reason: Undeliverable,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let expression = Expression {
            update: "SET #undeliverable = :reason, #undeliverable_at = :now".to_owned(),
            // No mark without a claim: it would stand in the way of the next owner's.
            condition: "attribute_exists(pk)".to_owned(),
            values: vec![
                (":reason", text(reason.as_str())),
                (":now", text(now.to_string())),
            ],
        };
        let key = email_key(address);
        self.dynamodb.update(&self.table, key, expression).await
    }

    /// Whether mails to an address are pointless, or unwelcome.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn is_undeliverable(
        &self,
        address: &EmailAddress,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let key = email_key(address);
        let mark: Option<Mark> = self.dynamodb.get(&self.table, key, now).await?;
        Ok(mark.is_some_and(|mark| mark.undeliverable.is_some()))
    }
}
