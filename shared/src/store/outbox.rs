//! Mail to be sent, in `USERS_TABLE`. An entry is written in the same transaction as the event that causes it: no event
//! without its mail, no mail without its event, and no endpoint waits for a mail server.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `OUTBOX#01J…` | `EMAIL` | kind (`verify_email`), user_id, to, name, token_id, rejection_token_id, has_code, ip, user_agent, origin, language (`en`), created_at, ttl; sent_at or given_up, sending_until while it is being sent, tries that were deferred |

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

/// The lifetime of an entry: 7 days.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The outbox in a table.
#[derive(Clone)]
pub struct Outbox {
    table: String,
}

/// The subject of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A link to prove the address.
    VerifyEmail,
    /// A link to set a new password.
    ResetPassword,
    /// The password was changed by a signed-in user.
    PasswordChanged,
    /// The password was reset by a mailed link.
    PasswordWasReset,
    /// A sign-in from a new device.
    NewDevice,
    /// Two-factor authentication was turned on.
    TwoFactorOn,
    /// Two-factor authentication was turned off.
    TwoFactorOff,
    /// A code to sign in with.
    SignInCode,
    /// A passkey was added.
    PasskeyAdded,
    /// A passkey was removed.
    PasskeyRemoved,
    /// A passkey was refused, as its counter went back.
    PasskeyCopied,
    /// An identity of another provider was linked.
    IdentityLinked,
    /// An identity of another provider was unlinked.
    IdentityUnlinked,
    /// A backup code was used.
    BackupCodeUsed,
    /// Too many wrong codes of the second factor after the right password.
    TwoFactorLocked,
    /// Too many failures in a row: a new password must be set with this link.
    ResetRequired,
    /// A session may be in use by somebody else.
    SessionUsedElsewhere,
    /// The account was deleted.
    AccountDeleted,
}

/// The identifiers of the tokens in a mail's links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// The token of the button's link.
    pub token_id: Option<TokenId>,
    /// The token of the link "this wasn't me".
    pub rejection_token_id: Option<TokenId>,
    /// Whether the client that asked may type a code instead of opening the button's link.
    pub has_code: bool,
}

impl Links {
    /// Returns no links.
    pub fn none() -> Self {
        Self::default()
    }

    /// Returns the link of a button only.
    pub fn button(token_id: TokenId) -> Self {
        Self {
            token_id: Some(token_id),
            ..Self::default()
        }
    }

    /// Adds a code, which is derived from the same identifier as the button's token.
    pub fn with_code(self) -> Self {
        Self {
            has_code: true,
            ..self
        }
    }
}

/// A mail to be sent.
#[derive(Serialize, Deserialize)]
pub struct OutboxEntry {
    /// The subject of the mail.
    pub kind: Kind,
    user_id: UserId,
    /// The recipient's address.
    pub to: String,
    /// The recipient's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The identifier of the token in the button's link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<TokenId>,
    /// The identifier of the token in the link "this wasn't me".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection_token_id: Option<TokenId>,
    /// Whether the mail has a code as well.
    #[serde(default)]
    pub has_code: bool,
    /// The IP address of the client that caused the mail.
    #[serde(default)]
    pub ip: String,
    /// The user agent of the client that caused the mail.
    #[serde(default)]
    pub user_agent: String,
    /// The origin of the page that caused the mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The recipient's language; English if a later version of this code stored a language unknown here.
    #[serde(default, deserialize_with = "As::<DefaultOnError>::deserialize")]
    pub language: Language,
    /// The time of the event.
    pub created_at: Timestamp,
    ttl: i64,
}

impl OutboxEntry {
    /// The prefix of all entries' partition keys.
    pub const PREFIX: &str = "OUTBOX#";
}

impl Outbox {
    /// Reads the variable `USERS_TABLE`.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            table: environment.text("USERS_TABLE"),
        }
    }

    /// Creates a mail to a user. Stores only the identifiers of its links' tokens. The name is left out until the
    /// address is proven: the address may be a stranger's, and whoever registered it must not choose words that the
    /// stranger reads in a mail of this service.
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
            has_code: links.has_code,
            ip: client.ip.clone(),
            user_agent: client.user_agent.clone(),
            origin: client.origin.clone(),
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
