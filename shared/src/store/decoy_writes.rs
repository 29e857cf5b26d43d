//! Decoy writes, made in place of real writes if the account does not exist. A refused write is answered sooner than a
//! committed one, and would reveal which accounts exist; therefore decoy writes are committed. Their items contain
//! nothing and expire after an hour.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `DECOY#01J…` | `DECOY` | filler, ttl (1 h) |

use std::time::Duration;

use serde::Serialize;

use super::items::{self, Expression, Item, TransactWriteItem, text, ttl};
use crate::config::Environment;
use crate::domain::id::Id;
use crate::domain::timestamp::Timestamp;
use crate::random;

/// The lifetime of an item: 1 h.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// About the size of a real item.
const FILLER: &str = "................................................................................................................................................................................................................................................................";

/// The decoy writes in a table.
#[derive(Clone)]
pub struct DecoyWrites {
    table: String,
}

#[derive(Serialize)]
struct DecoyItem {
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

    /// Creates one item as part of a transaction.
    pub fn create(&self, now: Timestamp) -> TransactWriteItem {
        items::put(&self.table, item(now), Expression::item_is_absent())
    }
}

/// Returns a decoy for an update.
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
    let decoy = DecoyItem {
        filler: FILLER,
        ttl: now.plus(LIFETIME).seconds(),
    };
    items::item(format!("DECOY#{id}"), "DECOY", &decoy)
}
