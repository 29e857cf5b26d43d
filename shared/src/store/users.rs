//! Users, and the claims that make addresses and usernames unique, in `USERS_TABLE`.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `USER#01J…` | `PROFILE` | id, email, username, name, …, version: the fields of [`User`]; `ttl` once deleted |
//! | `EMAIL#ada@example.com` | `CLAIM` | user_id; `ttl` once deleted |
//! | `USERNAME#ada` | `CLAIM` | user_id; `ttl` once deleted |
//!
//! The functions that return a [`TransactWriteItem`] are parts for one transaction: its caller
//! decides what belongs together.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value;

use super::Error;
use super::dynamodb::{DynamoDb, is_conflict};
use super::items::{self, Expression, Item, TransactWriteItem, number, text, ttl};
use crate::config::Environment;
use crate::domain::email_address::EmailAddress;
use crate::domain::email_token::TokenHash;
use crate::domain::session::{SessionEpoch, SessionId};
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{AccountStatus, User, UserId};
use crate::domain::username::Username;

/// The sort key of a user's record.
const PROFILE: &str = "PROFILE";

/// The users' records and claims.
#[derive(Clone)]
pub struct Users {
    dynamodb: DynamoDb,
    table: String,
}

#[derive(Serialize, Deserialize)]
struct Claim {
    user_id: UserId,
}

/// The partition in which all that belongs to one user stands, in both tables.
pub(super) fn partition(id: UserId) -> String {
    format!("USER#{id}")
}

fn profile_key(id: UserId) -> Item {
    items::key(partition(id), PROFILE)
}

pub(super) fn email_key(email: &EmailAddress) -> Item {
    items::key(format!("EMAIL#{}", email.canonical()), "CLAIM")
}

fn username_key(username: &Username) -> Item {
    items::key(format!("USERNAME#{}", username.canonical()), "CLAIM")
}

impl Users {
    /// Reads the variable `USERS_TABLE` and those of DynamoDB.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            dynamodb: DynamoDb::from_env(environment),
            table: environment.text("USERS_TABLE"),
        }
    }

    /// The user with this id, deleted ones included until they are purged.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn find(&self, id: UserId, now: Timestamp) -> Result<Option<User>, Error> {
        self.dynamodb.get(&self.table, profile_key(id), now).await
    }

    /// The same, but only what decides on the user's sessions is sent and read.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn find_account_status(
        &self,
        id: UserId,
        now: Timestamp,
    ) -> Result<Option<AccountStatus>, Error> {
        self.dynamodb
            .get_attributes(&self.table, profile_key(id), AccountStatus::ATTRIBUTES, now)
            .await
    }

    /// Who has claimed this address.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn find_id_by_email(
        &self,
        email: &EmailAddress,
        now: Timestamp,
    ) -> Result<Option<UserId>, Error> {
        self.find_claim(email_key(email), now).await
    }

    /// Who has claimed this username.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn find_id_by_username(
        &self,
        username: &Username,
        now: Timestamp,
    ) -> Result<Option<UserId>, Error> {
        self.find_claim(username_key(username), now).await
    }

    async fn find_claim(&self, key: Item, now: Timestamp) -> Result<Option<UserId>, Error> {
        let claim: Option<Claim> = self.dynamodb.get(&self.table, key, now).await?;
        Ok(claim.map(|claim| claim.user_id))
    }

    /// Notes a sign-in; failures before it are forgiven. Refused if the account is not active any more, or if
    /// there was a change that ends sessions (a new password, a second factor): the condition closes the race
    /// between reading the user and starting the session.
    pub fn record_login(&self, user: &User, now: Timestamp) -> TransactWriteItem {
        let mut expression = Expression {
            update: format!("SET #last_login_at = :now, {FORGIVE}"),
            condition: "#status = :active".to_owned(),
            values: vec![
                (":now", text(now.to_string())),
                (":active", text("active")),
                (":zero", number(0)),
            ],
        };
        expect_epoch(&mut expression, user);
        self.update(user.id, expression)
    }

    /// The same with a backup code, which ends all other sessions.
    pub fn record_login_with_backup_code(&self, user: &User, now: Timestamp) -> TransactWriteItem {
        let mut changes = Expression {
            update: format!(
                "SET #last_login_at = :now, #backup_codes_left = #backup_codes_left - :one, \
                 {END_SESSIONS}, {FORGIVE} REMOVE #kept_session"
            ),
            condition: "#two_factor_enabled = :true AND #backup_codes_left >= :one".to_owned(),
            values: vec![
                (":now", text(now.to_string())),
                (":true", AttributeValue::Bool(true)),
                (":zero", number(0)),
            ],
        };
        expect_epoch(&mut changes, user);
        self.update_active(user.id, changes)
    }

    /// Counts a wrong password or code, and returns how many there were in a row; nothing where there is no
    /// such user (any more), or where another transaction is at the record: to wait for it would tell that there
    /// is one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn count_failure(&self, id: UserId) -> Result<Option<u32>, Error> {
        #[derive(Deserialize)]
        struct Counted {
            failed_attempts: u32,
        }
        let expression = Expression {
            update: "ADD #failed_attempts :one".to_owned(),
            condition: "attribute_exists(pk)".to_owned(),
            values: vec![(":one", number(1))],
        };
        let updated = self
            .dynamodb
            .update_and_read(&self.table, profile_key(id), expression);
        let counted: Option<Counted> = match updated.await {
            Err(error) if is_conflict(&error) => None,
            counted => counted?,
        };
        Ok(counted.map(|counted| counted.failed_attempts))
    }

    /// Lets nobody sign in before a new password was set by the link of this token.
    pub fn require_reset(&self, id: UserId, token: &TokenHash) -> TransactWriteItem {
        let changes = Expression {
            update: "SET #password_reset_required = :true, #reset_token = :token".to_owned(),
            condition: String::new(),
            values: vec![
                (":true", AttributeValue::Bool(true)),
                (":token", text(token.as_str())),
            ],
        };
        self.update_active(id, changes)
    }

    /// Turns the second factor off by a mailed token, ends all sessions, and lets nobody sign in before a new
    /// password was set by the link of another one. Refused unless this is the one token that is valid, and
    /// if the record has changed since it was read.
    pub fn undo_two_factor(
        &self,
        user: &User,
        undo: &TokenHash,
        reset: &TokenHash,
        now: Timestamp,
    ) -> TransactWriteItem {
        let changes = Expression {
            update: format!(
                "SET {NO_SECOND_FACTOR}, #password_reset_required = :true, #reset_token = :reset, \
                 #updated_at = :now, #device_tokens_since = :now, {END_SESSIONS} \
                 REMOVE #undo_token, #kept_session"
            ),
            condition: "#undo_token = :undo AND #version = :read".to_owned(),
            values: no_second_factor()
                .into_iter()
                .chain([
                    (":true", AttributeValue::Bool(true)),
                    (":reset", text(reset.as_str())),
                    (":undo", text(undo.as_str())),
                    (":now", text(now.to_string())),
                    (":read", number(user.version)),
                ])
                .collect(),
        };
        self.update_active(user.id, changes)
    }

    /// The second factor as `user` has it now. With `ends_sessions` all of the user's but this one are over.
    /// Refused if the record has changed since it was read.
    #[expect(
        clippy::expect_used,
        reason = "plain structs serialise to plain attributes"
    )]
    pub fn update_two_factor(
        &self,
        user: &User,
        ends_sessions: Option<SessionId>,
        now: Timestamp,
    ) -> TransactWriteItem {
        let devices =
            to_attribute_value(&user.two_factor_devices).expect("a list of plain structs");
        let mut update = "SET #two_factor_enabled = :enabled, #two_factor_devices = :devices, \
                          #backup_codes_left = :left, #updated_at = :now, #version = :next"
            .to_owned();
        let mut values = vec![
            (":enabled", AttributeValue::Bool(user.two_factor_enabled)),
            (":devices", devices),
            (":left", number(user.backup_codes_left)),
            (":now", text(now.to_string())),
            (":next", number(user.version + 1)),
        ];
        if let Some(kept) = ends_sessions {
            update.push_str(&format!(", {END_SESSIONS}, #kept_session = :kept"));
            values.push((":kept", text(kept.to_string())));
            values.push((":zero", number(0)));
            values.push((":one", number(1)));
        }
        match &user.undo_token {
            Some(token) => {
                update.push_str(", #undo_token = :undo");
                values.push((":undo", text(token.as_str())));
            }
            None => update.push_str(" REMOVE #undo_token"),
        }
        self.update_if_unchanged(user, update, values)
    }

    /// The record of a new user.
    pub fn create(&self, user: &User) -> TransactWriteItem {
        let item = items::item(partition(user.id), PROFILE, user);
        items::put(&self.table, item, Expression::item_is_absent())
    }

    /// The user's claim on the address, as long as the record lasts. Refused while somebody else holds it: of
    /// two registrations in a race, one wins.
    pub fn claim_email(&self, user: &User, now: Timestamp) -> TransactWriteItem {
        self.claim(email_key(&user.email), user, now)
    }

    /// The user's claim on a username. Refused while somebody else holds it.
    pub fn claim_username(
        &self,
        username: &Username,
        user: &User,
        now: Timestamp,
    ) -> TransactWriteItem {
        self.claim(username_key(username), user, now)
    }

    /// TTL sweeps late: a claim whose time has passed is free although it is still there.
    fn claim(&self, key: Item, user: &User, now: Timestamp) -> TransactWriteItem {
        let mut item = key;
        item.insert("user_id".to_owned(), text(user.id.to_string()));
        if let Some(expiry) = user.ttl {
            item.insert("ttl".to_owned(), number(expiry));
        }
        let condition = "attribute_not_exists(pk) OR #ttl <= :now".to_owned();
        items::put(
            &self.table,
            item,
            Expression {
                condition,
                values: vec![(":now", ttl(now))],
                ..Default::default()
            },
        )
    }

    /// Gives a username back.
    pub fn release_username(&self, username: &Username, id: UserId) -> TransactWriteItem {
        items::delete(&self.table, username_key(username), held_by(id))
    }

    /// The profile as `user` has it now. Refused if the record has changed since it was read, so
    /// that of two changes at once neither is lost.
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

    /// The soft deletion of an account: no sign-in from now on, gone after the purge. Refused if the
    /// record has changed since it was read.
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

    /// Makes this the one verification token that is valid. Refused where there is nothing to verify.
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

    /// Marks the address verified. Refused unless this is the one token that is valid: it works once,
    /// also in parallel.
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

    /// The claim on the address of an account whose address is proven lasts as it does.
    pub fn keep_email(&self, user: &User) -> TransactWriteItem {
        self.keep(email_key(&user.email), user.id)
    }

    /// The same of the username.
    pub fn keep_username(&self, username: &Username, id: UserId) -> TransactWriteItem {
        self.keep(username_key(username), id)
    }

    fn keep(&self, key: Item, id: UserId) -> TransactWriteItem {
        let mut expression = held_by(id);
        expression.update = "REMOVE #ttl".to_owned();
        items::update(&self.table, key, expression)
    }

    /// Removes a record that nobody has verified. Refused if it was verified or changed since it was read.
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

    /// Gives an address back.
    pub fn release_email(&self, email: &EmailAddress, id: UserId) -> TransactWriteItem {
        items::delete(&self.table, email_key(email), held_by(id))
    }

    /// Makes this the one reset token that is valid. Refused for an account that is not active.
    pub fn set_reset_token(&self, id: UserId, token: &TokenHash) -> TransactWriteItem {
        let changes = Expression {
            update: "SET #reset_token = :token".to_owned(),
            condition: String::new(),
            values: vec![(":token", text(token.as_str()))],
        };
        self.update_active(id, changes)
    }

    /// Uses up the reset token, ends all sessions and voids the device tokens. Refused unless this is the one
    /// token that is valid: it works once, also in parallel.
    ///
    /// Whoever got the mail has proven the address. Where nobody had before, somebody else may have made the
    /// account: nothing stays that was set up in it, so that its owner does not meet a stranger's second factor.
    /// Then it is refused as well if the record has changed since it was read.
    pub fn consume_reset_token(
        &self,
        user: &User,
        token: &TokenHash,
        now: Timestamp,
    ) -> TransactWriteItem {
        let mut set = format!(
            "SET #email_verified = :true, #updated_at = :now, #device_tokens_since = :now, \
             #password_reset_required = :false, {END_SESSIONS}, {FORGIVE}"
        );
        let mut remove = " REMOVE #reset_token, #verification_token, #kept_session".to_owned();
        let mut condition = "#reset_token = :token".to_owned();
        let mut values = vec![
            (":true", AttributeValue::Bool(true)),
            (":false", AttributeValue::Bool(false)),
            (":now", text(now.to_string())),
            (":token", text(token.as_str())),
            (":zero", number(0)),
        ];
        if !user.email_verified {
            set.push_str(&format!(", {NO_SECOND_FACTOR}"));
            remove.push_str(", #rejection, #undo_token, #username, #name, #avatar_url, #ttl");
            condition.push_str(" AND #version = :read");
            values.push((":read", number(user.version)));
            values.push((":none", AttributeValue::L(Vec::new())));
        }
        let changes = Expression {
            update: set + &remove,
            condition,
            values,
        };
        self.update_active(user.id, changes)
    }

    /// Notes a new password: a reset token that is on its way is void, as are the device tokens, and all
    /// sessions but this one are over. Refused for an account that is not active, and where sessions were ended
    /// since the user was read: this one is perhaps among them.
    pub fn record_new_password(
        &self,
        user: &User,
        kept: SessionId,
        uses_backup_code: bool,
        now: Timestamp,
    ) -> TransactWriteItem {
        let backup_codes = match uses_backup_code {
            true => ", #backup_codes_left = #backup_codes_left - :one",
            false => "",
        };
        let mut changes = Expression {
            update: format!(
                "SET #updated_at = :now, #device_tokens_since = :now, #kept_session = :kept, \
                 #password_reset_required = :false, {END_SESSIONS}, {FORGIVE}{backup_codes} \
                 REMOVE #reset_token"
            ),
            condition: String::new(),
            values: vec![
                (":now", text(now.to_string())),
                (":kept", text(kept.to_string())),
                (":false", AttributeValue::Bool(false)),
                (":zero", number(0)),
            ],
        };
        expect_epoch(&mut changes, user);
        self.update_active(user.id, changes)
    }

    /// A change of an active account's record, counted in its version. Refused for any other account,
    /// and where `changes` has a condition that does not hold.
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

    /// Lets a deleted account's address go when the account is purged, not before: until then nobody
    /// takes it over.
    pub fn expire_email(
        &self,
        email: &EmailAddress,
        id: UserId,
        purge_at: Timestamp,
    ) -> TransactWriteItem {
        self.expire(email_key(email), id, purge_at)
    }

    /// The same for the username.
    pub fn expire_username(
        &self,
        username: &Username,
        id: UserId,
        purge_at: Timestamp,
    ) -> TransactWriteItem {
        self.expire(username_key(username), id, purge_at)
    }

    fn expire(&self, key: Item, id: UserId, purge_at: Timestamp) -> TransactWriteItem {
        let mut expression = held_by(id);
        expression.update = "SET #ttl = :ttl".to_owned();
        expression.values.push((":ttl", ttl(purge_at)));
        items::update(&self.table, key, expression)
    }
}

/// Ends the sessions of the epoch until now: a part of an update, with `:zero` and `:one`.
const END_SESSIONS: &str = "#session_epoch = if_not_exists(#session_epoch, :zero) + :one";

/// Forgets the failures of before: a part of an update, with `:zero`.
const FORGIVE: &str = "#failed_attempts = :zero";

/// Takes the second factor off: a part of an update, with [`no_second_factor`]'s values.
const NO_SECOND_FACTOR: &str = "#two_factor_enabled = :false, #two_factor_devices = :none, \
                                #backup_codes_left = :zero";

fn no_second_factor() -> [(&'static str, AttributeValue); 3] {
    [
        (":false", AttributeValue::Bool(false)),
        (":none", AttributeValue::L(Vec::new())),
        (":zero", number(0)),
    ]
}

/// Refused where sessions were ended since the user was read.
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

fn held_by(id: UserId) -> Expression {
    Expression {
        condition: "#user_id = :id".to_owned(),
        values: vec![(":id", text(id.to_string()))],
        ..Default::default()
    }
}
