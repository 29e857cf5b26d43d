//! The client of DynamoDB (API version 2012-08-10).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_dynamo::{AttributeValue, Item as Attributes, from_item, to_item};

use super::Error;
use crate::aws::{self, Api, Failure, Patience, Refusal, Service};
use crate::domain::timestamp::Timestamp;
use crate::{json, random};

const API: Api = Api {
    host: "dynamodb",
    name: "dynamodb",
    path: "/",
    content_type: "application/x-amz-json-1.0",
    // Two dead connections, as a freeze leaves them, cost two tries; the third one answers.
    patience: Patience {
        tries: 3,
        one: Duration::from_millis(500),
        all: Duration::from_millis(1400),
    },
};

/// Tries at a write that met a transaction on the same item.
const CONFLICT_TRIES: u32 = 4;

/// The connection to DynamoDB; a handle that is cheap to clone.
#[derive(Clone)]
pub struct DynamoDb(Arc<Service>);

impl DynamoDb {
    /// Connects with the first request.
    pub fn new(config: aws::Config) -> Self {
        Self(Arc::new(Service::new(config, API)))
    }

    /// Reads one item, strongly consistent.
    ///
    /// # Errors
    /// Those of the store; [`Error::Unexpected`] for an item that no code here has written.
    pub async fn get<T: DeserializeOwned>(
        &self,
        table: &str,
        key: Item,
        now: Timestamp,
    ) -> Result<Option<T>, Error> {
        self.get_item(table, key, None, now).await
    }

    /// The same of these attributes alone.
    ///
    /// # Errors
    /// Those of [`DynamoDb::get`].
    pub async fn get_attributes<T: DeserializeOwned>(
        &self,
        table: &str,
        key: Item,
        attributes: &[&str],
        now: Timestamp,
    ) -> Result<Option<T>, Error> {
        self.get_item(table, key, Some(attributes), now).await
    }

    async fn get_item<T: DeserializeOwned>(
        &self,
        table: &str,
        key: Item,
        attributes: Option<&[&str]>,
        now: Timestamp,
    ) -> Result<Option<T>, Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct GetItem<'a> {
            table_name: &'a str,
            key: Item,
            consistent_read: bool,
            #[serde(flatten)]
            projection: Option<Projection<'a>>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Projection<'a> {
            projection_expression: String,
            expression_attribute_names: BTreeMap<String, &'a str>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Found {
            item: Option<Attributes>,
        }
        let projection = attributes.map(|attributes| {
            // Whether the item has expired, is always asked.
            let names = attributes.iter().chain(&["ttl"]);
            let names: BTreeMap<_, _> = names.map(|name| (format!("#{name}"), *name)).collect();
            let placeholders: Vec<&str> = names.keys().map(String::as_str).collect();
            Projection {
                projection_expression: placeholders.join(","),
                expression_attribute_names: names,
            }
        });
        let request = GetItem {
            table_name: table,
            key,
            consistent_read: true,
            projection,
        };
        let found: Found = self.find("DynamoDB_20120810.GetItem", &request).await?;
        read(found.item, now)
    }

    /// Reads the items of a partition whose sort keys begin like this, in their order, strongly
    /// consistent. For the few that one user has: one page is all that is read.
    ///
    /// # Errors
    /// Those of the store; [`Error::Unexpected`] for an item that no code here has written.
    pub async fn query<T: DeserializeOwned>(
        &self,
        table: &str,
        pk: String,
        sk_prefix: &str,
        now: Timestamp,
    ) -> Result<Vec<T>, Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Query<'a> {
            table_name: &'a str,
            consistent_read: bool,
            key_condition_expression: &'static str,
            expression_attribute_values: HashMap<&'static str, AttributeValue>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Found {
            items: Vec<Attributes>,
        }
        let request = Query {
            table_name: table,
            consistent_read: true,
            key_condition_expression: "pk = :pk AND begins_with(sk, :prefix)",
            expression_attribute_values: HashMap::from([
                (":pk", text(pk)),
                (":prefix", text(sk_prefix)),
            ]),
        };
        let found: Found = self.find("DynamoDB_20120810.Query", &request).await?;
        let items = found.items.into_iter();
        items
            .filter_map(|item| read(Some(item), now).transpose())
            .collect()
    }

    /// Puts one item; `false` where the condition did not hold.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn put(&self, table: &str, item: Item, condition: Expression) -> Result<bool, Error> {
        let change = Change::new(table, condition).of_item(item);
        self.write("DynamoDB_20120810.PutItem", &change).await
    }

    /// Changes one item; `false` where the condition did not hold.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn update(
        &self,
        table: &str,
        key: Item,
        expression: Expression,
    ) -> Result<bool, Error> {
        let change = Change::new(table, expression).at(key);
        self.write("DynamoDB_20120810.UpdateItem", &change).await
    }

    /// Whether the condition of a single write held. One that met a transaction on the same item is tried
    /// again after a short random wait, three times.
    async fn write(&self, operation: &'static str, change: &Change) -> Result<bool, Error> {
        for attempt in 1..=CONFLICT_TRIES {
            let refusal = match self.ask(operation, change).await {
                Ok(_) => return Ok(true),
                Err(Failure::Refused(refusal)) => refusal,
                Err(failure) => return Err(classify(failure)),
            };
            match refusal.code.as_str() {
                "ConditionalCheckFailedException" => return Ok(false),
                "TransactionConflictException" => tokio::time::sleep(jitter(attempt)).await,
                _ => return Err(classify(Failure::Refused(refusal))),
            }
        }
        Err(conflicting())
    }

    /// Writes all or nothing. A transaction that met another one on the same item is tried again after
    /// a short random wait, three times; what got no answer is repeated under the same idempotency
    /// token, so nothing is written twice.
    ///
    /// # Errors
    /// [`TransactionError::Refused`] with the meaning of the first condition that did not hold.
    pub async fn transact<C: Copy>(
        &self,
        writes: Vec<Write<C>>,
    ) -> Result<(), TransactionError<C>> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct TransactWriteItems<'a> {
            transact_items: &'a [TransactWriteItem],
            client_request_token: String,
        }
        let (items, meanings): (Vec<_>, Vec<_>) = writes
            .into_iter()
            .map(|write| (write.item, write.refused))
            .unzip();
        for attempt in 1..=CONFLICT_TRIES {
            let request = TransactWriteItems {
                transact_items: &items,
                client_request_token: hex::encode(random::bytes::<16>()),
            };
            let operation = "DynamoDB_20120810.TransactWriteItems";
            let Err(failure) = self.ask(operation, &request).await else {
                return Ok(());
            };
            let codes = cancellation_codes(&failure);
            if let Some(at) = codes
                .iter()
                .position(|code| code == "ConditionalCheckFailed")
                && let Some(meaning) = meanings.get(at)
            {
                return Err(TransactionError::Refused(*meaning));
            }
            if !codes.iter().any(|code| code == "TransactionConflict") {
                return Err(classify(failure).into());
            }
            tokio::time::sleep(jitter(attempt)).await;
        }
        Err(conflicting().into())
    }

    async fn find<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        request: &impl Serialize,
    ) -> Result<T, Error> {
        let answer = self.ask(operation, request).await.map_err(classify)?;
        json::read(&answer)
            .ok_or_else(|| Error::Unavailable("DynamoDB: no valid answer".to_owned()))
    }

    async fn ask(
        &self,
        operation: &'static str,
        request: &impl Serialize,
    ) -> Result<Bytes, Failure> {
        let request = json::write(request);
        self.0.post(Some(operation), request.into()).await
    }
}

/// One write of a transaction, with what it means when its condition does not hold.
pub struct Write<C> {
    /// What is written.
    pub item: TransactWriteItem,
    /// What the caller makes of it.
    pub refused: C,
}

impl<C> Write<C> {
    /// A write, and the meaning of its refusal.
    pub fn new(item: TransactWriteItem, refused: C) -> Self {
        Self { item, refused }
    }
}

/// Why a transaction wrote nothing.
#[derive(Debug)]
pub enum TransactionError<C> {
    /// A condition did not hold: the first one that did not.
    Refused(C),
    /// The store failed.
    Store(Error),
}

impl<C> From<Error> for TransactionError<C> {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

fn conflicting() -> Error {
    Error::Unavailable("DynamoDB: another transaction, again and again".to_owned())
}

/// Up to 20, 40, 80 ms.
fn jitter(attempt: u32) -> Duration {
    random::up_to(Duration::from_millis(10 << attempt))
}

/// Why each write of a transaction was not done; the text `None` for those that could have been.
fn cancellation_codes(failure: &Failure) -> Vec<String> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Canceled {
        cancellation_reasons: Vec<Reason>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Reason {
        code: Option<String>,
    }
    let canceled: Canceled = match failure {
        Failure::Refused(refusal) if refusal.code == "TransactionCanceledException" => {
            serde_json::from_slice(&refusal.body).unwrap_or_default()
        }
        _ => Canceled::default(),
    };
    let reasons = canceled.cancellation_reasons.into_iter();
    reasons
        .map(|reason| reason.code.unwrap_or_default())
        .collect()
}

/// What a failed request means. The service's own message stays out where it could quote an item.
fn classify(failure: Failure) -> Error {
    let refusal = match failure {
        Failure::NoAnswer(what) => return Error::Unavailable(format!("DynamoDB: {what}")),
        Failure::Refused(refusal) => refusal,
    };
    let may_pass = refusal.may_pass();
    let Refusal { code, message, .. } = refusal;
    match code.as_str() {
        code if may_pass || code == "TransactionCanceledException" => {
            Error::Unavailable(format!("DynamoDB: {code}"))
        }
        // Tells an operator which permission is missing; it quotes names of resources only.
        "AccessDeniedException" => Error::Unexpected(format!("DynamoDB: {code}: {message}")),
        _ => Error::Unexpected(format!("DynamoDB: {code}")),
    }
}

fn unreadable() -> Error {
    Error::Unexpected("DynamoDB: an item that no code here has written".to_owned())
}

/// An item as DynamoDB has it.
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

/// Reads an item's attributes; nothing for one that is absent, or expired and not yet swept.
///
/// # Errors
/// [`Error::Unexpected`] for an item that no code here has written.
fn read<T: DeserializeOwned>(item: Option<Attributes>, now: Timestamp) -> Result<Option<T>, Error> {
    let Some(item) = item else { return Ok(None) };
    let ttl: Option<i64> = match item.get("ttl") {
        Some(AttributeValue::N(number)) => Some(number.parse().map_err(|_| unreadable())?),
        Some(_) => return Err(unreadable()),
        None => None,
    };
    if ttl.is_some_and(|ttl| ttl <= now.seconds()) {
        return Ok(None);
    }
    from_item(item).map(Some).map_err(|_| unreadable())
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
    /// The attributes that are spoken of.
    fn names(&self) -> HashMap<String, String> {
        let text = format!("{} {}", self.update, self.condition);
        let names = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '#'));
        names
            .filter_map(|word| Some((word.to_owned(), word.strip_prefix('#')?.to_owned())))
            .collect()
    }
}

/// A write: of what, where, and under which condition.
#[derive(Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Change {
    table_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<Item>,
    #[serde(skip_serializing_if = "String::is_empty")]
    update_expression: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    condition_expression: String,
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    expression_attribute_names: HashMap<String, String>,
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    expression_attribute_values: HashMap<&'static str, AttributeValue>,
}

impl Change {
    fn new(table: &str, expression: Expression) -> Self {
        Self {
            table_name: table.to_owned(),
            key: None,
            item: None,
            expression_attribute_names: expression.names(),
            expression_attribute_values: expression.values.into_iter().collect(),
            update_expression: expression.update,
            condition_expression: expression.condition,
        }
    }

    fn at(self, key: Item) -> Self {
        let key = Some(key);
        Self { key, ..self }
    }

    fn of_item(self, item: Item) -> Self {
        let item = Some(item);
        Self { item, ..self }
    }
}

/// A part of a transaction.
#[derive(Clone, Serialize)]
pub enum TransactWriteItem {
    /// Puts an item.
    Put(Change),
    /// Changes one.
    Update(Change),
    /// Only looks at one.
    ConditionCheck(Change),
    /// Deletes one.
    Delete(Change),
}

/// A part of a transaction that puts an item, under a condition.
pub fn put(table: &str, item: Item, expression: Expression) -> TransactWriteItem {
    TransactWriteItem::Put(Change::new(table, expression).of_item(item))
}

/// A part of a transaction that changes an item, under a condition.
pub fn update(table: &str, key: Item, expression: Expression) -> TransactWriteItem {
    TransactWriteItem::Update(Change::new(table, expression).at(key))
}

/// A part of a transaction that changes nothing, and only holds under a condition.
pub fn check(table: &str, key: Item, expression: Expression) -> TransactWriteItem {
    TransactWriteItem::ConditionCheck(Change::new(table, expression).at(key))
}

/// A part of a transaction that deletes an item, under a condition.
pub fn delete(table: &str, key: Item, expression: Expression) -> TransactWriteItem {
    TransactWriteItem::Delete(Change::new(table, expression).at(key))
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
