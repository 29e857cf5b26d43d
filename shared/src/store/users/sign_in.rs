//! Changes of a user's record at sign-in and for a new password.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Deserialize;

use super::{END_SESSIONS, NO_SECOND_FACTOR, Users, expect_epoch, no_second_factor, profile_key};
use crate::domain::email_token::TokenHash;
use crate::domain::session::SessionId;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{UsedMethod, User, UserId};
use crate::store::Error;
use crate::store::items::{Expression, TransactWriteItem, number, text};

/// Part of an update: resets the counter of failed attempts. Needs the value `:zero`.
const RESET_FAILURES: &str = "#failed_attempts = :zero";

impl Users {
    /// Records a sign-in, with a passkey or an identity if one is given, and resets the failed attempts. Refused if the
    /// account is no longer active, if a change has ended sessions (a new password, a second factor), or if the passkey or
    /// the identity was removed: the condition closes the race between reading the user and starting the session.
    pub fn record_login(
        &self,
        user: &User,
        used: Option<&UsedMethod>,
        now: Timestamp,
    ) -> TransactWriteItem {
        let mut expression = Expression {
            update: format!("SET #last_login_at = :now, {RESET_FAILURES}"),
            condition: "#status = :active".to_owned(),
            values: vec![
                (":now", text(now.to_string())),
                (":active", text("active")),
                (":zero", number(0)),
            ],
        };
        note_use(&mut expression, used);
        expect_epoch(&mut expression, user);
        self.update(user.id, expression)
    }

    /// Records a sign-in with a backup code, which ends all other sessions; with a passkey or an identity as in
    /// [`Self::record_login`].
    pub fn record_login_with_backup_code(
        &self,
        user: &User,
        used: Option<&UsedMethod>,
        now: Timestamp,
    ) -> TransactWriteItem {
        let mut changes = Expression {
            update: format!(
                "SET #last_login_at = :now, #backup_codes_left = #backup_codes_left - :one, \
                 {END_SESSIONS}, {RESET_FAILURES} REMOVE #kept_session"
            ),
            condition: "#two_factor_enabled = :true AND #backup_codes_left >= :one".to_owned(),
            values: vec![
                (":now", text(now.to_string())),
                (":true", AttributeValue::Bool(true)),
                (":zero", number(0)),
            ],
        };
        note_use(&mut changes, used);
        expect_epoch(&mut changes, user);
        self.update_active(user.id, changes)
    }

    /// Counts a wrong password or code and returns the number of failures in a row. Returns `None` if the user does not
    /// exist (any more), or if another transaction holds the record: waiting for it would reveal that the account
    /// exists.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses or an item cannot be
    /// read.
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
            Err(Error::Conflict) => None,
            counted => counted?,
        };
        Ok(counted.map(|counted| counted.failed_attempts))
    }

    /// Blocks sign-in until a new password is set by the link with this token.
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

    /// Makes this the only valid reset token. Refused for an account that is not active.
    pub fn set_reset_token(&self, id: UserId, token: &TokenHash) -> TransactWriteItem {
        let changes = Expression {
            update: "SET #reset_token = :token".to_owned(),
            condition: String::new(),
            values: vec![(":token", text(token.as_str()))],
        };
        self.update_active(id, changes)
    }

    /// Uses up the reset token, ends all sessions and revokes the device tokens. Refused unless this is the only valid
    /// token: it works once, also under concurrency.
    ///
    /// Receiving the mail proves the address. If the address was unproven, somebody else may have created the account:
    /// all its settings are removed, so that the owner of the address does not meet a stranger's second factor. In this
    /// case the change is also refused if the record has changed since it was read.
    pub fn consume_reset_token(
        &self,
        user: &User,
        token: &TokenHash,
        now: Timestamp,
    ) -> TransactWriteItem {
        let mut set = format!(
            "SET #email_verified = :true, #updated_at = :now, #device_tokens_since = :now, \
             #password_reset_required = :false, {END_SESSIONS}, {RESET_FAILURES}"
        );
        let mut remove =
            " REMOVE #reset_token, #verification_token, #kept_session, #has_no_password".to_owned();
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

    /// Marks the address proven by a mailed code. With `removes_settings`, somebody else may have registered the account:
    /// its sessions end and its settings are removed, as in [`Self::consume_reset_token`]. Refused if the record has
    /// changed since it was read.
    pub fn prove_address(
        &self,
        user: &User,
        removes_settings: bool,
        now: Timestamp,
    ) -> TransactWriteItem {
        let mut set = "SET #email_verified = :true, #updated_at = :now".to_owned();
        let mut remove = " REMOVE #verification_token, #rejection, #ttl".to_owned();
        let mut values = vec![
            (":true", AttributeValue::Bool(true)),
            (":now", text(now.to_string())),
            (":read", number(user.version)),
        ];
        if removes_settings {
            set.push_str(&format!(
                ", #device_tokens_since = :now, #password_reset_required = :false, #has_no_password = :true, {END_SESSIONS}, \
                 {RESET_FAILURES}, {NO_SECOND_FACTOR}"
            ));
            remove.push_str(
                ", #reset_token, #kept_session, #undo_token, #username, #name, #avatar_url",
            );
            values.extend(no_second_factor());
        }
        let changes = Expression {
            update: set + &remove,
            condition: "#version = :read".to_owned(),
            values,
        };
        self.update_active(user.id, changes)
    }

    /// Records a new password: revokes the reset token and the device tokens, and ends all sessions except `kept`.
    /// Refused for an account that is not active, and if sessions were ended since the user was read, as `kept` may be
    /// among them.
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
                 #password_reset_required = :false, {END_SESSIONS}, {RESET_FAILURES}{backup_codes} \
                 REMOVE #reset_token, #has_no_password"
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

/// Adds that a passkey or an identity was used, and the condition that the record lists it. The update must begin with
/// `SET`, and have the value `:now`.
fn note_use(expression: &mut Expression, used: Option<&UsedMethod>) {
    let (entry, is_listed) = match used {
        None => return,
        Some(UsedMethod::Passkey(id)) => {
            let entry = format!("#passkeys.#{id}");
            let is_listed = format!("attribute_exists({entry})");
            (entry, is_listed)
        }
        Some(UsedMethod::Identity(provider, id)) => {
            let entry = format!("#identities.#{}", provider.as_str());
            let is_listed = format!("{entry}.#issuer = :issuer AND {entry}.#subject = :subject");
            expression.values.push((":issuer", text(&id.issuer)));
            expression.values.push((":subject", text(&id.subject)));
            (entry, is_listed)
        }
    };
    let set = expression.update.strip_prefix("SET ").unwrap_or_default();
    expression.update = format!("SET {entry}.#last_used_at = :now, {set}");
    expression.condition = format!("{} AND {is_listed}", expression.condition);
}
