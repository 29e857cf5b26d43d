//! The outbox as the mailer sees it: each entry is sent once. The attributes are in `shared::store::outbox`.

use std::time::Duration;

use serde::Deserialize;
use shared::config::Environment;
use shared::domain::timestamp::Timestamp;
use shared::store::Error;
use shared::store::dynamodb::DynamoDb;
use shared::store::items::{self, Expression, Item, number, text};

/// Tries at a mail that its recipient's server takes later, or never.
const MAX_TRIES: u32 = 5;

/// How long one try at sending may take before another may begin.
const LEASE_DURATION: Duration = Duration::from_secs(8);

/// The entries that are to be sent.
#[derive(Clone)]
pub struct Deliveries {
    dynamodb: DynamoDb,
    table: String,
}

/// What there is to do about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
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
    /// Reads the variable `USERS_TABLE` and those of DynamoDB.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            dynamodb: DynamoDb::from_env(environment),
            table: environment.text("USERS_TABLE"),
        }
    }

    /// Takes an entry for sending. The condition closes the race between two deliveries of one
    /// stream record: one of them sends.
    ///
    /// # Errors
    /// Those of the store.
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
    items::key(pk.to_owned(), "EMAIL")
}
