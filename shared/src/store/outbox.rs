//! Mail that is to be sent, written in the transaction of its cause, in `USERS_TABLE`: no mail
//! without its cause, no cause without its mail, and no endpoint that waits for a mail server.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `OUTBOX#01J…` | `EMAIL` | kind (`verify_email`), user_id, to, name, token_id, rejection_token_id, ip, user_agent, language (`en`), created_at, ttl; sent_at or given_up, sending_until while it is being sent, tries that were deferred |

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_with::{As, DefaultOnError};

use super::items::{self, Expression, TransactWriteItem};
use crate::config::Environment;
use crate::domain::client_info::ClientInfo;
use crate::domain::email_token::TokenId;
use crate::domain::id::Id;
use crate::domain::language::Language;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{User, UserId};
use crate::random;

/// How long an entry stays: 7 days.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The outbox in a table.
#[derive(Clone)]
pub struct Outbox {
    table: String,
}

/// What a mail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Somebody signed in from a device that was not seen before.
    NewDevice,
    /// Two-factor authentication was turned on.
    TwoFactorOn,
    /// Two-factor authentication was turned off.
    TwoFactorOff,
    /// A backup code was used.
    BackupCodeUsed,
    /// Too many wrong codes of the second factor, after the right password.
    TwoFactorLocked,
    /// Too many failures in a row: a new password must be set with this link.
    ResetRequired,
    /// A session is perhaps used by somebody else.
    SessionUsedElsewhere,
    /// Your account has been deleted.
    AccountDeleted,
}

/// The identifiers of the tokens that a mail's links carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Of what its button does.
    pub token_id: Option<TokenId>,
    /// Of "this wasn't me".
    pub rejection_token_id: Option<TokenId>,
}

impl Links {
    /// Of a mail without links.
    pub fn none() -> Self {
        Self::default()
    }

    /// Of a mail with a button alone.
    pub fn button(token_id: TokenId) -> Self {
        Self {
            token_id: Some(token_id),
            rejection_token_id: None,
        }
    }
}

/// A mail that is to be sent.
#[derive(Serialize, Deserialize)]
pub struct OutboxEntry {
    /// What it is about.
    pub kind: Kind,
    user_id: UserId,
    /// The address.
    pub to: String,
    /// How its reader wants to be called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of the token that its link carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<TokenId>,
    /// The same of the link "this wasn't me".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection_token_id: Option<TokenId>,
    /// Where its cause came from: an address and an agent.
    #[serde(default)]
    pub ip: String,
    /// What the agent calls itself.
    #[serde(default)]
    pub user_agent: String,
    /// What its reader reads; English where a later version of this code knows more languages.
    #[serde(default, deserialize_with = "As::<DefaultOnError>::deserialize")]
    pub language: Language,
    /// When its cause happened.
    pub created_at: Timestamp,
    ttl: i64,
}

impl OutboxEntry {
    /// What the partition keys of all entries begin with.
    pub const PREFIX: &str = "OUTBOX#";
}

impl Outbox {
    /// Reads the variable `USERS_TABLE`.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            table: environment.text("USERS_TABLE"),
        }
    }

    /// A mail to a user. Of the token that its link carries, only the identifier is stored. An address that is not
    /// proven may be a stranger's: who registered it must not choose words that the stranger reads in our name.
    pub fn create(
        &self,
        kind: Kind,
        user: &User,
        links: &Links,
        client: &ClientInfo,
    ) -> TransactWriteItem {
        let now = client.received_at;
        let name = user.name.as_ref().filter(|_| user.email_verified);
        let entry = OutboxEntry {
            kind,
            user_id: user.id,
            to: user.email.mailbox(),
            name: name.map(|name| name.as_str().to_owned()),
            token_id: links.token_id.clone(),
            rejection_token_id: links.rejection_token_id.clone(),
            ip: client.ip.clone(),
            user_agent: client.user_agent.clone(),
            language: client.language,
            created_at: now,
            ttl: now.plus(LIFETIME).seconds(),
        };
        let id = Id::<Outbox>::new(now, random::bytes());
        items::put(
            &self.table,
            items::item(format!("{}{id}", OutboxEntry::PREFIX), "EMAIL", &entry),
            Expression::item_is_absent(),
        )
    }
}
