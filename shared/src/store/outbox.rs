//! Mail that is to be sent, written in the transaction of its cause, in `USERS_TABLE`: no mail
//! without its cause, no cause without its mail, and no endpoint that waits for a mail server.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `OUTBOX#01J…` | `EMAIL` | kind (`verify_email`), user_id, to, name, token_id, rejection_token_id, ip, user_agent, language (`en`), created_at, ttl; sent_at or given_up, sending_until while it is being sent, tries that were deferred |

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_with::{As, DefaultOnError};

use super::Error;
use super::audit::Origin;
use super::dynamodb::{self, DynamoDb, Expression, Item, TransactWriteItem, number, text};
use super::users::absent;
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
    /// The outbox in this table.
    pub fn new(table: String) -> Self {
        Self { table }
    }

    /// A mail to a user. Of the token that its link carries, only the identifier is stored. An address that is not
    /// proven may be a stranger's: who registered it must not choose words that the stranger reads in our name.
    pub fn create(
        &self,
        kind: Kind,
        user: &User,
        links: &Links,
        language: Language,
        origin: &Origin,
    ) -> TransactWriteItem {
        let now = origin.at;
        let name = user.name.as_ref().filter(|_| user.email_verified);
        let entry = OutboxEntry {
            kind,
            user_id: user.id,
            to: user.email.mailbox(),
            name: name.map(|name| name.as_str().to_owned()),
            token_id: links.token_id.clone(),
            rejection_token_id: links.rejection_token_id.clone(),
            ip: origin.ip.clone(),
            user_agent: origin.user_agent.clone(),
            language,
            created_at: now,
            ttl: now.plus(LIFETIME).seconds(),
        };
        let id = Id::<Outbox>::new(now, random::bytes());
        dynamodb::put(
            &self.table,
            dynamodb::item(format!("{}{id}", OutboxEntry::PREFIX), "EMAIL", &entry),
            absent(),
        )
    }
}

/// Tries at a mail that its recipient's server takes later, or never.
const MAX_TRIES: u32 = 5;

/// How long one try at sending may take before another may begin.
const LEASE: Duration = Duration::from_secs(8);

/// The outbox as the mailer sees it: entries that are to be sent, once each.
#[derive(Clone)]
pub struct Deliveries {
    dynamodb: DynamoDb,
    table: String,
}

/// What there is to do about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Send it: nobody else will, until the lease ends.
    Granted,
    /// Nothing: it was sent, or given up, or is gone.
    Done,
    /// Somebody is sending it, or died while sending it: free again at this time.
    Busy(Timestamp),
}

#[derive(Deserialize)]
struct State {
    sent_at: Option<Timestamp>,
    given_up: Option<String>,
    #[serde(default)]
    sending_until: i64,
}

impl Deliveries {
    /// The entries in this table.
    pub fn new(dynamodb: DynamoDb, table: String) -> Self {
        Self { dynamodb, table }
    }

    /// Takes an entry for sending. The condition closes the race between two deliveries of one
    /// stream record: one of them sends.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn claim(&self, pk: &str, now: Timestamp) -> Result<Claim, Error> {
        let until = now.plus(LEASE).milliseconds();
        let expression = Expression {
            update: "SET #sending_until = :until".to_owned(),
            condition: "attribute_exists(pk) AND attribute_not_exists(#sent_at) \
                        AND attribute_not_exists(#given_up) \
                        AND (attribute_not_exists(#sending_until) OR #sending_until <= :now)"
                .to_owned(),
            values: vec![
                (":until", number(until)),
                (":now", number(now.milliseconds())),
            ],
        };
        if self.update(pk, expression).await? {
            return Ok(Claim::Granted);
        }
        let state: Option<State> = self.dynamodb.get(&self.table, key(pk), now).await?;
        Ok(match state {
            Some(State {
                sent_at: None,
                given_up: None,
                sending_until,
            }) => Claim::Busy(Timestamp::from_milliseconds(sending_until)),
            _ => Claim::Done,
        })
    }

    /// Notes that an entry was sent.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn mark_sent(&self, pk: &str, now: Timestamp) -> Result<(), Error> {
        self.finish(pk, "SET #sent_at = :value", now.to_string())
            .await
    }

    /// Notes that an entry can never be sent, and why: the code of the refusal.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn give_up(&self, pk: &str, code: &str) -> Result<(), Error> {
        self.finish(pk, "SET #given_up = :value", code.to_owned())
            .await
    }

    async fn finish(&self, pk: &str, update: &str, value: String) -> Result<(), Error> {
        let expression = Expression {
            update: format!("{update} REMOVE #sending_until"),
            condition: "attribute_exists(pk)".to_owned(),
            values: vec![(":value", text(value))],
        };
        self.update(pk, expression).await?;
        Ok(())
    }

    /// Lets the next try begin at once.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn release(&self, pk: &str) -> Result<(), Error> {
        let expression = Expression {
            update: "REMOVE #sending_until".to_owned(),
            condition: "attribute_exists(pk)".to_owned(),
            ..Default::default()
        };
        self.update(pk, expression).await?;
        Ok(())
    }

    /// Counts a try at a mail that is not taken for now, and lets the next one begin; `false` where it was the last.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn defer(&self, pk: &str) -> Result<bool, Error> {
        let expression = Expression {
            update: "SET #tries = if_not_exists(#tries, :none) + :one REMOVE #sending_until"
                .to_owned(),
            condition: "attribute_exists(pk) AND (attribute_not_exists(#tries) OR #tries < :last)"
                .to_owned(),
            values: vec![
                (":none", number(0)),
                (":one", number(1)),
                (":last", number(MAX_TRIES - 1)),
            ],
        };
        self.update(pk, expression).await
    }

    async fn update(&self, pk: &str, expression: Expression) -> Result<bool, Error> {
        self.dynamodb.update(&self.table, key(pk), expression).await
    }
}

fn key(pk: &str) -> Item {
    dynamodb::key(pk.to_owned(), "EMAIL")
}
