//! The suppression list: addresses that get no more mail, marked at the claim on the address, in `USERS_TABLE`. The
//! mark disappears with the claim: an address that is freed and registered again starts without a mark.
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

/// Why an address gets no more mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undeliverable {
    /// The mailbox does not exist.
    Bounce,
    /// The recipient marked a mail as spam.
    Complaint,
}

impl Undeliverable {
    /// Returns the stored form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bounce => "bounce",
            Self::Complaint => "complaint",
        }
    }
}

/// The suppression list in a table.
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

    /// Marks an address; returns `false` if no account claims it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn mark(
        &self,
        address: &EmailAddress,
        reason: Undeliverable,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let expression = Expression {
            update: "SET #undeliverable = :reason, #undeliverable_at = :now".to_owned(),
            // Without a claim no mark is written: the item would block the next owner's claim.
            condition: "attribute_exists(pk)".to_owned(),
            values: vec![
                (":reason", text(reason.as_str())),
                (":now", text(now.to_string())),
            ],
        };
        let key = email_key(address);
        self.dynamodb.update(&self.table, key, expression).await
    }

    /// Returns whether the address is on the suppression list.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses or an item cannot be
    /// read.
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
