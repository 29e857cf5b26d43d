//! Counts how many mails of a kind an address has had lately, in `USERS_TABLE`, so that nobody's mailbox is flooded
//! through an account that names it. The counts are in DynamoDB because the mailer has no access to Redis.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `MAILS#ada@example.com` | `NewDevice` | mails (`entry`, `at`), version, ttl |

use std::time::Duration;

use serde::{Deserialize, Serialize};

use shared::config::Environment;
use shared::domain::email_address::EmailAddress;
use shared::domain::timestamp::Timestamp;
use shared::store::Error;
use shared::store::dynamodb::DynamoDb;
use shared::store::items::{self, Expression, number};
use shared::store::outbox::Kind;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The most notices of a kind within a time.
const NOTICES: &[(usize, Duration)] = &[(3, HOUR), (10, DAY)];
/// The most mails with links of a kind within a time. Requests for links have rate limits already
/// (`RATE_LIMIT_PASSWORD_RESET`, `RATE_LIMIT_EMAIL_RESEND`: 3 an hour about an address, 6 if limits are balanced), and
/// registration sends one. This cap comes after those limits and refuses nothing that they allow. It has no daily
/// number: a stranger could use it up and keep the owner out.
const LINKS: &[(usize, Duration)] = &[(10, HOUR)];
/// The most mails with codes within a time, for the same reasons (`RATE_LIMIT_CODE_REQUEST`: 10 an hour about an address,
/// 20 if limits are balanced).
const CODES: &[(usize, Duration)] = &[(20, HOUR)];

/// Tries at a count that another mailer changes at the same time.
const MAX_TRIES: u32 = 5;

/// The counts in a table.
#[derive(Clone)]
pub struct MailCounts {
    dynamodb: DynamoDb,
    table: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Counted {
    /// The outbox entry, so that another try at a mail is not counted again.
    entry: String,
    at: Timestamp,
}

#[derive(Default, Serialize, Deserialize)]
struct Count {
    mails: Vec<Counted>,
    version: u64,
    ttl: i64,
}

impl MailCounts {
    /// Reads `USERS_TABLE` and the variables of DynamoDB.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            dynamodb: DynamoDb::from_env(environment),
            table: environment.text("USERS_TABLE"),
        }
    }

    /// Counts a mail once; returns `false` if the address has had too many of its kind. The condition closes the race
    /// between two mails: one of them reads what the other has written.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the store does not answer or other mailers keep changing the count,
    /// [`Error::Unexpected`] if the store refuses or the count is unreadable.
    pub async fn count(
        &self,
        address: &EmailAddress,
        kind: Kind,
        entry: &str,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let caps = caps(kind);
        for _ in 0..MAX_TRIES {
            let key = items::key(pk(address), &sk(kind));
            let found: Option<Count> = self.dynamodb.get(&self.table, key, now).await?;
            let found = found.unwrap_or_default();
            if found.mails.iter().any(|counted| counted.entry == entry) {
                return Ok(true);
            }
            let Some(mails) = counted(found.mails, entry, caps, now) else {
                return Ok(false);
            };
            if self.write(address, kind, mails, found.version, now).await? {
                return Ok(true);
            }
        }
        let what = "DynamoDB: another count, again and again";
        Err(Error::Unavailable(what.to_owned()))
    }

    async fn write(
        &self,
        address: &EmailAddress,
        kind: Kind,
        mails: Vec<Counted>,
        read: u64,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let count = Count {
            mails,
            version: read + 1,
            ttl: now.plus(DAY).seconds(),
        };
        let item = items::item(pk(address), &sk(kind), &count);
        let condition = Expression {
            condition: "attribute_not_exists(pk) OR #version = :read OR #ttl <= :now".to_owned(),
            values: vec![(":read", number(read)), (":now", number(now.seconds()))],
            ..Default::default()
        };
        self.dynamodb.put(&self.table, item, condition).await
    }
}

fn pk(address: &EmailAddress) -> String {
    format!("MAILS#{}", address.canonical())
}

fn sk(kind: Kind) -> String {
    format!("{kind:?}")
}

fn caps(kind: Kind) -> &'static [(usize, Duration)] {
    match kind {
        Kind::VerifyEmail | Kind::ResetPassword => LINKS,
        Kind::SignInCode => CODES,
        // No cap: an attacker who turns the second factor on and off until a cap is reached must not keep the undo link
        // from the owner. The endpoint's rate limit bounds these mails.
        Kind::TwoFactorOn => &[],
        _ => NOTICES,
    }
}

/// Adds a mail and drops those that are too old to matter; returns `None` if the mail exceeds a cap.
fn counted(
    mails: Vec<Counted>,
    entry: &str,
    caps: &[(usize, Duration)],
    now: Timestamp,
) -> Option<Vec<Counted>> {
    let is_within = |counted: &Counted, time: Duration| counted.at.until(now) < time;
    let is_full = |(most, time): &(usize, Duration)| {
        let within = mails.iter().filter(|counted| is_within(counted, *time));
        within.count() >= *most
    };
    if caps.iter().any(is_full) {
        return None;
    }
    let longest = caps.iter().map(|(_, time)| *time).max().unwrap_or_default();
    let one = Counted {
        entry: entry.to_owned(),
        at: now,
    };
    let kept = mails.iter().filter(|counted| is_within(counted, longest));
    Some(kept.cloned().chain([one]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_an_hour_and_ten_a_day_are_the_most() {
        let mut mails = Vec::new();
        let mut sent = Vec::new();
        // One every ten minutes, for a day and a half.
        for number in 0..216 {
            let now = Timestamp::from_milliseconds(number * 600_000);
            let entry = number.to_string();
            if let Some(after) = counted(mails.clone(), &entry, NOTICES, now) {
                mails = after;
                sent.push(number);
            }
            assert!(mails.len() <= 10);
        }

        assert_eq!(sent[..10], [0, 1, 2, 6, 7, 8, 12, 13, 14, 18]);
        assert_eq!(
            sent[10..],
            [144, 145, 146, 150, 151, 152, 156, 157, 158, 162]
        );
    }

    #[test]
    fn whoever_asks_for_links_as_often_as_the_limits_allow_gets_them() {
        let mut mails = Vec::new();
        for number in 0..500 {
            let now = Timestamp::from_milliseconds(number * 600_000); // six an hour
            mails = counted(mails, &number.to_string(), LINKS, now).unwrap();
        }
        assert!(mails.len() <= 10);
    }
}
