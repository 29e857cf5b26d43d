//! Users, and the claims that make addresses and usernames unique, in `USERS_TABLE`.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `USER#01J…` | `PROFILE` | id, email, username, name, …, version: the fields of [`User`]; `ttl` once deleted |
//! | `EMAIL#ada@example.com` | `CLAIM` | user_id; `ttl` once deleted |
//! | `USERNAME#ada` | `CLAIM` | user_id; `ttl` once deleted |
//!
//! Functions that return a [`TransactWriteItem`] produce parts of a transaction; the caller decides which parts belong
//! together.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value;

use super::Error;
use super::dynamodb::DynamoDb;
use super::items::{self, Expression, Item, TransactWriteItem, number, text, ttl};
use crate::config::Environment;
use crate::domain::email_token::TokenHash;
use crate::domain::session::SessionEpoch;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{TokenSubject, User, UserId};
use crate::domain::username::Username;

mod claims;
mod sign_in;
mod two_factor;

pub(super) use claims::email_key;

/// The sort key of a user's record.
const PROFILE: &str = "PROFILE";

/// The users' records and claims.
#[derive(Clone)]
pub struct Users {
    dynamodb: DynamoDb,
    table: String,
}

/// Returns the partition of one user, in both tables.
pub(super) fn partition(id: UserId) -> String {
    format!("USER#{id}")
}

fn profile_key(id: UserId) -> Item {
    items::key(partition(id), PROFILE)
}

impl Users {
    /// Reads the variable `USERS_TABLE` and those of DynamoDB.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            dynamodb: DynamoDb::from_env(environment),
            table: environment.text("USERS_TABLE"),
        }
    }

    /// Finds the user with this id; deleted users are found until they are purged.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses or an item cannot be
    /// read.
    pub async fn find(&self, id: UserId, now: Timestamp) -> Result<Option<User>, Error> {
        self.dynamodb.get(&self.table, profile_key(id), now).await
    }

    /// Finds only the attributes that a refresh needs.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses or an item cannot be
    /// read.
    pub async fn find_token_subject(
        &self,
        id: UserId,
        now: Timestamp,
    ) -> Result<Option<TokenSubject>, Error> {
        self.dynamodb
            .get_attributes(&self.table, profile_key(id), TokenSubject::ATTRIBUTES, now)
            .await
    }

    /// Creates the record of a new user.
    pub fn create(&self, user: &User) -> TransactWriteItem {
        let item = items::item(partition(user.id), PROFILE, user);
        items::put(&self.table, item, Expression::item_is_absent())
    }

    /// Writes the profile fields of `user`. Refused if the record has changed since it was read, so that no concurrent
    /// change is lost.
    pub fn update_profile(&self, user: &User, now: Timestamp) -> TransactWriteItem {
        let fields = [
            (
                "username",
                ":username",
                user.username.as_ref().map(Username::as_str),
            ),
            (
                "name",
                ":name",
                user.name.as_ref().map(|name| name.as_str()),
            ),
            (
                "avatar_url",
                ":avatar_url",
                user.avatar_url.as_ref().map(|url| url.as_str()),
            ),
        ];
        let mut set = vec![
            "#updated_at = :now".to_owned(),
            "#version = :next".to_owned(),
        ];
        let mut remove = Vec::new();
        let mut values = vec![
            (":now", text(now.to_string())),
            (":next", number(user.version + 1)),
        ];
        for (attribute, placeholder, value) in fields {
            match value {
                Some(value) => {
                    set.push(format!("#{attribute} = {placeholder}"));
                    values.push((placeholder, text(value)));
                }
                None => remove.push(format!("#{attribute}")),
            }
        }
        let mut update = format!("SET {}", set.join(", "));
        if !remove.is_empty() {
            update.push_str(&format!(" REMOVE {}", remove.join(", ")));
        }
        self.update_if_unchanged(user, update, values)
    }

    /// Writes the passkeys of `user`. Refused if the record has changed since it was read.
    pub fn update_passkeys(&self, user: &User, now: Timestamp) -> TransactWriteItem {
        self.update_entries(user, ("passkeys", &user.passkeys), now)
    }

    /// Writes the identities of `user`. Refused if the record has changed since it was read.
    pub fn update_identities(&self, user: &User, now: Timestamp) -> TransactWriteItem {
        self.update_entries(user, ("identities", &user.identities), now)
    }

    /// Soft-deletes an account: sign-in is refused from now on, and the record is purged later. Refused if the record
    /// has changed since it was read.
    pub fn delete(&self, user: &User, now: Timestamp, purge_at: Timestamp) -> TransactWriteItem {
        let update = format!(
            "SET #status = :deleted, #updated_at = :now, #version = :next, #ttl = :ttl, {END_SESSIONS} REMOVE #kept_session"
        );
        let values = vec![
            (":zero", number(0)),
            (":one", number(1)),
            (":deleted", text("deleted")),
            (":now", text(now.to_string())),
            (":next", number(user.version + 1)),
            (":ttl", ttl(purge_at)),
        ];
        self.update_if_unchanged(user, update, values)
    }

    /// Makes this the only valid verification token. Refused if the address is verified already.
    pub fn set_verification_token(&self, id: UserId, token: &TokenHash) -> TransactWriteItem {
        let changes = Expression {
            update: "SET #verification_token = :token".to_owned(),
            condition: "#email_verified = :false".to_owned(),
            values: vec![
                (":token", text(token.as_str())),
                (":false", AttributeValue::Bool(false)),
            ],
        };
        self.update_active(id, changes)
    }

    /// Marks the address verified. Refused unless this is the only valid token: it works once, also under concurrency.
    pub fn verify_email(&self, id: UserId, token: &TokenHash, now: Timestamp) -> TransactWriteItem {
        let changes = Expression {
            update: "SET #email_verified = :true, #updated_at = :now \
                     REMOVE #verification_token, #rejection, #ttl"
                .to_owned(),
            condition: "#verification_token = :token AND #email_verified = :false".to_owned(),
            values: vec![
                (":true", AttributeValue::Bool(true)),
                (":false", AttributeValue::Bool(false)),
                (":now", text(now.to_string())),
                (":token", text(token.as_str())),
            ],
        };
        self.update_active(id, changes)
    }

    /// Removes an unverified record. Refused if it was verified or changed since it was read.
    pub fn remove_unverified(&self, user: &User) -> TransactWriteItem {
        let expression = Expression {
            condition: "#email_verified = :false AND #version = :read".to_owned(),
            values: vec![
                (":false", AttributeValue::Bool(false)),
                (":read", number(user.version)),
            ],
            ..Default::default()
        };
        items::delete(&self.table, profile_key(user.id), expression)
    }

    /// Changes an active account's record and increments its version. Refused for any other account, and if a condition
    /// of `changes` does not hold.
    fn update_active(&self, id: UserId, mut changes: Expression) -> TransactWriteItem {
        let set = changes.update.strip_prefix("SET ").unwrap_or_default();
        changes.update = format!("SET #version = #version + :one, {set}");
        changes.condition = match changes.condition.as_str() {
            "" => "#status = :active".to_owned(),
            condition => format!("#status = :active AND {condition}"),
        };
        changes.values.push((":one", number(1)));
        changes.values.push((":active", text("active")));
        self.update(id, changes)
    }

    fn update(&self, id: UserId, expression: Expression) -> TransactWriteItem {
        items::update(&self.table, profile_key(id), expression)
    }

    /// Writes an attribute that holds entries by their identifiers. Refused if the record has changed since it was read.
    #[expect(
        clippy::expect_used,
        reason = "plain structs serialise to plain attributes"
    )]
    fn update_entries(
        &self,
        user: &User,
        (attribute, entries): (&str, &impl Serialize),
        now: Timestamp,
    ) -> TransactWriteItem {
        let entries = to_attribute_value(entries).expect("a map of plain structs");
        let update = format!("SET #{attribute} = :entries, #updated_at = :now, #version = :next");
        let values = vec![
            (":entries", entries),
            (":now", text(now.to_string())),
            (":next", number(user.version + 1)),
        ];
        self.update_if_unchanged(user, update, values)
    }

    fn update_if_unchanged(
        &self,
        user: &User,
        update: String,
        mut values: Vec<(&'static str, AttributeValue)>,
    ) -> TransactWriteItem {
        values.push((":read", number(user.version)));
        let expression = Expression {
            update,
            condition: "#version = :read".to_owned(),
            values,
        };
        self.update(user.id, expression)
    }
}

/// Part of an update: ends the sessions of the present epoch. Needs the values `:zero` and `:one`.
const END_SESSIONS: &str = "#session_epoch = if_not_exists(#session_epoch, :zero) + :one";

/// Part of an update: removes the second factor. Needs the values of [`no_second_factor`].
const NO_SECOND_FACTOR: &str = "#two_factor_enabled = :false, #two_factor_devices = :none, \
                                #backup_codes_left = :zero";

fn no_second_factor() -> [(&'static str, AttributeValue); 3] {
    [
        (":false", AttributeValue::Bool(false)),
        (":none", AttributeValue::L(Vec::new())),
        (":zero", number(0)),
    ]
}

/// Adds the condition that no sessions were ended since the user was read.
fn expect_epoch(expression: &mut Expression, user: &User) {
    let epoch = user.session_epoch;
    let is_same = match epoch == SessionEpoch::default() {
        true => "(attribute_not_exists(#session_epoch) OR #session_epoch = :epoch)",
        false => "#session_epoch = :epoch",
    };
    expression.condition = match expression.condition.as_str() {
        "" => is_same.to_owned(),
        condition => format!("{condition} AND {is_same}"),
    };
    expression.values.push((":epoch", number(epoch.number())));
}
