//! The outbox as the mailer sees it: each entry is sent once. `shared::store::outbox` defines the attributes.

use std::time::Duration;

use serde::Deserialize;
use shared::config::Environment;
use shared::domain::timestamp::Timestamp;
use shared::store::Error;
use shared::store::dynamodb::DynamoDb;
use shared::store::items::{self, Expression, Item, number, text};

/// Tries at a mail that the recipient's server defers.
const MAX_TRIES: u32 = 5;

/// How long one try may take before another may begin.
const LEASE_DURATION: Duration = Duration::from_secs(8);

/// The deliveries of the outbox's entries.
#[derive(Clone)]
pub struct Deliveries {
    dynamodb: DynamoDb,
    table: String,
}

/// What to do about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Send it: nobody else does until the lease ends.
    Granted,
    /// Nothing: it was sent, given up or removed.
    Done,
    /// Wait: another invocation is sending it, or died while sending it. The lease ends at this time.
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
    /// Reads `USERS_TABLE` and the variables of DynamoDB.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            dynamodb: DynamoDb::from_env(environment),
            table: environment.text("USERS_TABLE"),
        }
    }

    /// Claims an entry for sending. The condition closes the race between two deliveries of one stream record: only one
    /// of them sends.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the store does not answer, [`Error::Unexpected`] if it refuses or the entry is
    /// unreadable.
    pub async fn claim(&self, pk: &str, now: Timestamp) -> Result<Lease, Error> {
        let until = now.plus(LEASE_DURATION).milliseconds();
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
            return Ok(Lease::Granted);
        }
        let state: Option<State> = self.dynamodb.get(&self.table, key(pk), now).await?;
        Ok(match state {
            Some(State {
                sent_at: None,
                given_up: None,
                sending_until,
            }) => Lease::Busy(Timestamp::from_milliseconds(sending_until)),
            _ => Lease::Done,
        })
    }

    /// Records that an entry was sent.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the store does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn mark_sent(&self, pk: &str, now: Timestamp) -> Result<(), Error> {
        self.finish(pk, "SET #sent_at = :value", now.to_string())
            .await
    }

    /// Records that an entry can never be sent, and the code of the refusal.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the store does not answer, [`Error::Unexpected`] if it refuses.
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

    /// Ends the lease, so that the next try can begin at once.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the store does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn release(&self, pk: &str) -> Result<(), Error> {
        let expression = Expression {
            update: "REMOVE #sending_until".to_owned(),
            condition: "attribute_exists(pk)".to_owned(),
            ..Default::default()
        };
        self.update(pk, expression).await?;
        Ok(())
    }

    /// Counts a try at a deferred mail and ends the lease; returns `false` if it was the last try.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the store does not answer, [`Error::Unexpected`] if it refuses.
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
    items::key(pk.to_owned(), "EMAIL")
}
