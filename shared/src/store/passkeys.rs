//! Passkeys, in `CREDENTIALS_TABLE`, by the credential id that the authenticator chose.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `PASSKEY#<credential id, base64url>` | `CREDENTIAL` | id, user_id, credential (the JSON of `webauthn-rs`: public key, counter, flags), created_at; `ttl` once the account is deleted |
//!
//! The key makes each credential unique among all accounts. The user's record has the list of the user's passkeys
//! ([`crate::domain::user::Passkey`]), and only a passkey on that list works.

use serde::{Deserialize, Serialize};

use super::Error;
use super::dynamodb::DynamoDb;
use super::items::{self, Expression, Item, TransactWriteItem, text, ttl};
use crate::config::Environment;
use crate::domain::id::PasskeyId;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::UserId;

/// The passkeys of all users.
#[derive(Clone)]
pub struct PasskeyStore {
    dynamodb: DynamoDb,
    table: String,
}

/// A stored passkey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPasskey {
    /// The identifier in requests.
    pub id: PasskeyId,
    /// The owner.
    pub user_id: UserId,
    /// The credential as JSON: public key, counter and flags.
    pub credential: String,
    /// The time of the registration.
    pub created_at: Timestamp,
}

fn key(credential_id: &str) -> Item {
    items::key(partition(credential_id), "CREDENTIAL")
}

fn partition(credential_id: &str) -> String {
    format!("PASSKEY#{credential_id}")
}

impl PasskeyStore {
    /// Reads the variable `CREDENTIALS_TABLE` and those of DynamoDB.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            dynamodb: DynamoDb::from_env(environment),
            table: environment.text("CREDENTIALS_TABLE"),
        }
    }

    /// Finds the passkey with this credential id, in base64url.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses or an item cannot be
    /// read.
    pub async fn find(
        &self,
        credential_id: &str,
        now: Timestamp,
    ) -> Result<Option<StoredPasskey>, Error> {
        let key = key(credential_id);
        self.dynamodb.get(&self.table, key, now).await
    }

    /// Creates a passkey. Refused if any account has this credential.
    pub fn create(&self, credential_id: &str, passkey: &StoredPasskey) -> TransactWriteItem {
        let item = items::item(partition(credential_id), "CREDENTIAL", passkey);
        items::put(&self.table, item, Expression::item_is_absent())
    }

    /// Replaces the stored credential, whose counter or flags have changed. Refused if another sign-in came first, or if
    /// the passkey was removed.
    pub fn update(&self, credential_id: &str, old: &str, new: &str) -> TransactWriteItem {
        let expression = Expression {
            update: "SET #credential = :new".to_owned(),
            condition: "#credential = :old".to_owned(),
            values: vec![(":new", text(new)), (":old", text(old))],
        };
        items::update(&self.table, key(credential_id), expression)
    }

    /// Removes a passkey.
    pub fn remove(&self, credential_id: &str) -> TransactWriteItem {
        let expression = Expression::item_exists();
        items::delete(&self.table, key(credential_id), expression)
    }

    /// Lets a deleted account's passkey expire with the account.
    pub fn expire(&self, credential_id: &str, purge_at: Timestamp) -> TransactWriteItem {
        let expression = Expression {
            update: "SET #ttl = :ttl".to_owned(),
            condition: "attribute_exists(pk)".to_owned(),
            values: vec![(":ttl", ttl(purge_at))],
        };
        items::update(&self.table, key(credential_id), expression)
    }
}
