//! Mail that is to be sent, written in the transaction of its cause, in `USERS_TABLE`: no mail
//! without its cause, no cause without its mail, and no endpoint that waits for a mail server.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `OUTBOX#01J…` | `EMAIL` | kind (`verify_email`), user_id, to, name, token_id, language (`en`), created_at, ttl |

use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;
use serde::Serialize;

use super::dynamodb;
use super::users::absent;
use crate::domain::email_token::TokenId;
use crate::domain::id::Id;
use crate::domain::language::Language;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::User;
use crate::random;

/// How long an entry stays: 7 days.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The outbox in a table.
#[derive(Clone)]
pub struct Outbox {
    table: String,
}

/// What a mail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Prove that the address is yours.
    VerifyEmail,
    /// Set a new password with this link.
    ResetPassword,
    /// Your password was changed, by somebody who is signed in.
    PasswordChanged,
    /// Your password was reset, by a mailed link.
    PasswordWasReset,
    /// Your account has been deleted.
    AccountDeleted,
}

#[derive(Serialize)]
struct Entry<'a> {
    kind: Kind,
    user_id: String,
    to: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<&'a str>,
    language: Language,
    created_at: Timestamp,
    ttl: i64,
}

impl Outbox {
    /// The outbox in this table.
    pub fn new(table: String) -> Self {
        Self { table }
    }

    /// A mail to a user. Of the token that its link carries, only the identifier is stored.
    pub fn create(
        &self,
        kind: Kind,
        user: &User,
        token_id: Option<&TokenId>,
        language: Language,
        now: Timestamp,
    ) -> TransactWriteItem {
        let entry = Entry {
            kind,
            user_id: user.id.to_string(),
            to: user.email.as_str(),
            name: user.name.as_ref().map(|name| name.as_str()),
            token_id: token_id.map(TokenId::as_str),
            language,
            created_at: now,
            ttl: now.plus(LIFETIME).seconds(),
        };
        let id = Id::<Outbox>::new(now, random::bytes());
        dynamodb::put(
            &self.table,
            dynamodb::item(format!("OUTBOX#{id}"), "EMAIL", &entry),
            absent(),
        )
    }
}
