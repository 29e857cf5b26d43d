//! Writes in the place of those that there is nobody to make for. A write that is refused is
//! answered sooner than one that is committed, and would tell a stranger who has no account; so these
//! are committed, and gone after an hour. They hold nothing.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `DECOY#01J…` | `NOTHING` | filler, ttl (1 h) |

use std::time::Duration;

use serde::Serialize;

use super::items::{self, Expression, Item, TransactWriteItem, text, ttl};
use crate::config::Environment;
use crate::domain::id::Id;
use crate::domain::timestamp::Timestamp;
use crate::random;

/// How long an item stays: 1 h.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// About the size of what it stands in for.
const FILLER: &str = "................................................................................................................................................................................................................................................................";

/// The stand-ins in a table.
#[derive(Clone)]
pub struct DecoyWrites {
    table: String,
}

#[derive(Serialize)]
struct Nothing {
    filler: &'static str,
    ttl: i64,
}

impl DecoyWrites {
    /// Reads the variable `USERS_TABLE`.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            table: environment.text("USERS_TABLE"),
        }
    }

    /// One item, as a part of a transaction.
    pub fn create(&self, now: Timestamp) -> TransactWriteItem {
        items::put(&self.table, item(now), Expression::item_is_absent())
    }
}

/// The same by an update, which what it stands in for is.
pub(super) fn update(now: Timestamp) -> (Item, Expression) {
    let id = Id::<DecoyWrites>::new(now, random::bytes());
    let expression = Expression {
        update: "SET #filler = :filler, #ttl = :ttl".to_owned(),
        condition: "attribute_not_exists(pk)".to_owned(),
        values: vec![(":filler", text(FILLER)), (":ttl", ttl(now.plus(LIFETIME)))],
    };
    let key = items::key(format!("DECOY#{id}"), "DECOY");
    (key, expression)
}

pub(super) fn item(now: Timestamp) -> Item {
    let id = Id::<DecoyWrites>::new(now, random::bytes());
    let nothing = Nothing {
        filler: FILLER,
        ttl: now.plus(LIFETIME).seconds(),
    };
    items::item(format!("DECOY#{id}"), "DECOY", &nothing)
}
