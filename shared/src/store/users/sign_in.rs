//! Changes of a user's record at sign-in and with a new password.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Deserialize;

use super::{END_SESSIONS, NO_SECOND_FACTOR, Users, expect_epoch, profile_key};
use crate::domain::email_token::TokenHash;
use crate::domain::session::SessionId;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{User, UserId};
use crate::store::Error;
use crate::store::dynamodb::is_conflict;
use crate::store::items::{Expression, TransactWriteItem, number, text};

/// Forgets the failures of before: a part of an update, with `:zero`.
const FORGIVE: &str = "#failed_attempts = :zero";

impl Users {
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
}
