//! Items, expressions and parts of transactions, in the types of the SDK.

use std::collections::HashMap;
use std::fmt;

pub use aws_sdk_dynamodb::types::TransactWriteItem;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Delete, Put, Update};
use serde::Serialize;
use serde_dynamo::aws_sdk_dynamodb_1::to_item;

use crate::domain::timestamp::Timestamp;
use crate::domain::user::UserId;

/// An item in the SDK's type.
pub type Item = HashMap<String, AttributeValue>;

/// Returns the key of an item.
pub fn key(pk: String, sk: &str) -> Item {
    Item::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

/// Builds an item from its key and the serialised `attributes`.
///
/// # Panics
/// Never for the plain structs of this crate.
#[expect(
    clippy::expect_used,
    reason = "plain structs serialise to plain attributes"
)]
pub fn item(pk: String, sk: &str, attributes: &impl Serialize) -> Item {
    let mut item: Item = to_item(attributes).expect("the attributes are a plain struct");
    item.extend(key(pk, sk));
    item
}

/// An expression with its attribute names and values. Attribute names are written `#name`, as many are reserved words.
#[derive(Default)]
pub struct Expression {
    /// The update expression; empty for a put or a delete.
    pub update: String,
    /// The condition.
    pub condition: String,
    /// The values, by placeholder.
    pub values: Vec<(&'static str, AttributeValue)>,
}

impl Expression {
    /// The condition that the item does not exist yet.
    pub fn item_is_absent() -> Self {
        Self::condition("attribute_not_exists(pk)")
    }

    /// The condition that the item exists.
    pub fn item_exists() -> Self {
        Self::condition("attribute_exists(pk)")
    }

    /// The condition that the item does not exist. DynamoDB deletes expired items late, so an expired one counts as absent
    /// even while it is still there.
    pub fn item_is_free(now: Timestamp) -> Self {
        Self {
            values: vec![(":now", ttl(now))],
            ..Self::condition("attribute_not_exists(pk) OR #ttl <= :now")
        }
    }

    /// The condition that the item belongs to this user.
    pub fn held_by(id: UserId) -> Self {
        Self {
            values: vec![(":id", text(id.to_string()))],
            ..Self::condition("#user_id = :id")
        }
    }

    /// Creates a condition without values.
    pub fn condition(condition: &str) -> Self {
        Self {
            condition: condition.to_owned(),
            ..Self::default()
        }
    }

    /// Returns the names of the attributes in the expression.
    pub(super) fn names(&self) -> Option<HashMap<String, String>> {
        let text = format!("{} {}", self.update, self.condition);
        let names = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '#'));
        let names: HashMap<_, _> = names
            .filter_map(|word| Some((word.to_owned(), word.strip_prefix('#')?.to_owned())))
            .collect();
        (!names.is_empty()).then_some(names)
    }

    pub(super) fn values(&self) -> Option<HashMap<String, AttributeValue>> {
        let values: HashMap<_, _> = self
            .values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        (!values.is_empty()).then_some(values)
    }
}

/// Returns the part of a transaction that puts an item under a condition.
#[expect(clippy::expect_used, reason = "all that the builder asks for is set")]
pub fn put(table: &str, item: Item, expression: Expression) -> TransactWriteItem {
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(item))
        .condition_expression(&expression.condition)
        .set_expression_attribute_names(expression.names())
        .set_expression_attribute_values(expression.values())
        .build()
        .expect("a put is complete");
    TransactWriteItem::builder().put(put).build()
}

/// Returns the part of a transaction that updates an item under a condition.
#[expect(clippy::expect_used, reason = "all that the builder asks for is set")]
pub fn update(table: &str, key: Item, expression: Expression) -> TransactWriteItem {
    let update = Update::builder()
        .table_name(table)
        .set_key(Some(key))
        .update_expression(&expression.update)
        .condition_expression(&expression.condition)
        .set_expression_attribute_names(expression.names())
        .set_expression_attribute_values(expression.values())
        .build()
        .expect("an update is complete");
    TransactWriteItem::builder().update(update).build()
}

/// Returns the part of a transaction that only checks a condition.
#[expect(clippy::expect_used, reason = "all that the builder asks for is set")]
pub fn check(table: &str, key: Item, expression: Expression) -> TransactWriteItem {
    let check = ConditionCheck::builder()
        .table_name(table)
        .set_key(Some(key))
        .condition_expression(&expression.condition)
        .set_expression_attribute_names(expression.names())
        .set_expression_attribute_values(expression.values())
        .build()
        .expect("a check is complete");
    TransactWriteItem::builder().condition_check(check).build()
}

/// Returns the part of a transaction that deletes an item under a condition.
#[expect(clippy::expect_used, reason = "all that the builder asks for is set")]
pub fn delete(table: &str, key: Item, expression: Expression) -> TransactWriteItem {
    let delete = Delete::builder()
        .table_name(table)
        .set_key(Some(key))
        .condition_expression(&expression.condition)
        .set_expression_attribute_names(expression.names())
        .set_expression_attribute_values(expression.values())
        .build()
        .expect("a delete is complete");
    TransactWriteItem::builder().delete(delete).build()
}

/// Creates a string attribute.
pub fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// Creates a number attribute.
pub fn number(value: impl fmt::Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Creates the value of a TTL attribute: seconds since 1970.
pub fn ttl(expiry: Timestamp) -> AttributeValue {
    number(expiry.seconds())
}
