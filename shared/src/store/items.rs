//! Items, expressions and the parts of transactions, as the SDK takes them.

use std::collections::HashMap;
use std::fmt;

pub use aws_sdk_dynamodb::types::TransactWriteItem;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Delete, Put, Update};
use serde::Serialize;
use serde_dynamo::aws_sdk_dynamodb_1::to_item;

use crate::domain::timestamp::Timestamp;

/// An item as the SDK has it.
pub type Item = HashMap<String, AttributeValue>;

/// The key of an item.
pub fn key(pk: String, sk: &str) -> Item {
    Item::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

/// An item: its key and what `attributes` serialises to.
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

/// An expression with the names and values it speaks of. Names of attributes are written `#name`:
/// many of them are reserved words.
#[derive(Default)]
pub struct Expression {
    /// What to change; empty for a put or a delete.
    pub update: String,
    /// What must hold.
    pub condition: String,
    /// The values, by their placeholder.
    pub values: Vec<(&'static str, AttributeValue)>,
}

impl Expression {
    /// Holds where there is no such item yet.
    pub fn item_is_absent() -> Self {
        Self::condition("attribute_not_exists(pk)")
    }

    /// Holds where there is such an item.
    pub fn item_exists() -> Self {
        Self::condition("attribute_exists(pk)")
    }

    /// A condition without values.
    pub fn condition(condition: &str) -> Self {
        Self {
            condition: condition.to_owned(),
            ..Self::default()
        }
    }

    /// The names of the attributes in the expression.
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

/// A part of a transaction that puts an item, under a condition.
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

/// A part of a transaction that changes an item, under a condition.
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

/// A part of a transaction that changes nothing, and only holds under a condition.
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

/// A part of a transaction that deletes an item, under a condition.
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

/// A string attribute.
pub fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number attribute.
pub fn number(value: impl fmt::Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The value of a TTL attribute: seconds since the epoch.
pub fn ttl(expiry: Timestamp) -> AttributeValue {
    number(expiry.seconds())
}
