//! Changes of a user's record for the second factor.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value;

use super::{END_SESSIONS, NO_SECOND_FACTOR, Users, no_second_factor};
use crate::domain::email_token::TokenHash;
use crate::domain::session::SessionId;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::User;
use crate::store::items::{Expression, TransactWriteItem, number, text};

impl Users {
    /// Turns the second factor off with a mailed token, removes the passkeys and the identities of other providers,
    /// ends all sessions, and blocks sign-in until a new password is set by the link with the `reset` token. Refused
    /// unless `undo` is the only valid token, and if the record has changed since it was read.
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
                 REMOVE #undo_token, #kept_session, #passkeys, #identities"
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

    /// Writes the second factor of `user`. With `ends_sessions`, ends all of the user's sessions except that one.
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
}
