//! The client of DynamoDB, from a configuration built by hand: nothing is looked up on disk or on
//! the network, every wait has an end.

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, StalledStreamProtectionConfig};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, TransactWriteItem, Update,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use super::Error;
use crate::config::AwsConfig;
use crate::domain::timestamp::Timestamp;
use crate::random;

/// Tries at a write that met a transaction on the same item.
const CONFLICT_TRIES: u32 = 4;

/// The connection to DynamoDB; a handle that is cheap to clone.
#[derive(Clone)]
pub struct DynamoDb(Client);

impl DynamoDb {
    /// Connects with the first request.
    pub fn new(config: AwsConfig) -> Self {
        Self(Client::from_conf(sdk_config(config)))
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
        let request = self
            .0
            .get_item()
            .table_name(table)
            .set_key(Some(key))
            .consistent_read(true);
        read(request.send().await.map_err(classify)?.item, now)
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
        let request = self
            .0
            .query()
            .table_name(table)
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":pk", text(pk))
            .expression_attribute_values(":prefix", text(sk_prefix));
        let items = request.send().await.map_err(classify)?.items;
        let items = items.unwrap_or_default().into_iter();
        items
            .filter_map(|item| read(Some(item), now).transpose())
            .collect()
    }

    /// Puts one item; `false` where the condition did not hold.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn put(&self, table: &str, item: Item, condition: Expression) -> Result<bool, Error> {
        let request = self
            .0
            .put_item()
            .table_name(table)
            .set_item(Some(item))
            .condition_expression(&condition.condition)
            .set_expression_attribute_names(condition.names())
            .set_expression_attribute_values(condition.values());
        for attempt in 1..=CONFLICT_TRIES {
            if let Some(held) = single_write(request.clone().send().await, attempt).await? {
                return Ok(held);
            }
        }
        Err(conflicting())
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
        let request = self
            .0
            .update_item()
            .table_name(table)
            .set_key(Some(key))
            .update_expression(&expression.update)
            .condition_expression(&expression.condition)
            .set_expression_attribute_names(expression.names())
            .set_expression_attribute_values(expression.values());
        for attempt in 1..=CONFLICT_TRIES {
            if let Some(held) = single_write(request.clone().send().await, attempt).await? {
                return Ok(held);
            }
        }
        Err(conflicting())
    }

    /// Writes all or nothing. A transaction that met another one on the same item is tried again after
    /// a short random wait, three times; the SDK repeats what got no answer under one idempotency
    /// token, so nothing is written twice.
    ///
    /// # Errors
    /// [`TransactionError::Refused`] with the meaning of the first condition that did not hold.
    pub async fn transact<C: Copy>(
        &self,
        writes: Vec<Write<C>>,
    ) -> Result<(), TransactionError<C>> {
        let (items, meanings): (Vec<_>, Vec<_>) = writes
            .into_iter()
            .map(|write| (write.item, write.refused))
            .unzip();
        for attempt in 1..=CONFLICT_TRIES {
            let request = self
                .0
                .transact_write_items()
                .set_transact_items(Some(items.clone()));
            let Err(error) = request.send().await else {
                return Ok(());
            };
            let codes = cancellation_codes(&error);
            if let Some(at) = codes
                .iter()
                .position(|code| code == "ConditionalCheckFailed")
            {
                return Err(TransactionError::Refused(meanings[at]));
            }
            if !codes.iter().any(|code| code == "TransactionConflict") {
                return Err(classify(error).into());
            }
            tokio::time::sleep(jitter(attempt)).await;
        }
        Err(conflicting().into())
    }
}

fn sdk_config(config: AwsConfig) -> aws_sdk_dynamodb::Config {
    let credentials = config.credentials();
    // Two dead connections, as a freeze leaves them, cost two attempts; the third one answers.
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(500))
        .operation_attempt_timeout(Duration::from_millis(500))
        .operation_timeout(Duration::from_millis(1200))
        .build();
    let mut builder = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(config.http_client())
        .region(Region::new(config.region))
        .credentials_provider(credentials)
        .timeout_config(timeouts)
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(3)
                .with_initial_backoff(Duration::from_millis(50)),
        )
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled()); // bodies are small
    builder.set_endpoint_url(config.endpoint_url);
    builder.build()
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

/// Whether the condition of a single write held; nothing where the write met a transaction on the
/// same item and is to be tried again, after the wait that this includes.
async fn single_write<T, E, R>(
    result: Result<T, SdkError<E, R>>,
    attempt: u32,
) -> Result<Option<bool>, Error>
where
    E: ProvideErrorMetadata + Debug,
    R: Debug,
{
    let Err(error) = result else {
        return Ok(Some(true));
    };
    match error.code() {
        Some("ConditionalCheckFailedException") => Ok(Some(false)),
        Some("TransactionConflictException") => {
            tokio::time::sleep(jitter(attempt)).await;
            Ok(None)
        }
        _ => Err(classify(error)),
    }
}

fn conflicting() -> Error {
    Error::Unavailable("DynamoDB: another transaction, again and again".to_owned())
}

/// Up to 20, 40, 80 ms.
fn jitter(attempt: u32) -> Duration {
    let most_milliseconds = 10_u64 << attempt;
    Duration::from_millis(u64::from_be_bytes(random::bytes()) % most_milliseconds)
}

fn cancellation_codes<R>(error: &SdkError<TransactWriteItemsError, R>) -> Vec<String> {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => canceled
            .cancellation_reasons()
            .iter()
            .map(|reason| reason.code().unwrap_or_default().to_owned())
            .collect(),
        _ => Vec::new(),
    }
}

/// What a failed request means. The service's own message stays out where it could quote an item.
fn classify<E, R>(error: SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + Debug,
    R: Debug,
{
    let Some(service_error) = error.as_service_error() else {
        let what = match &error {
            SdkError::TimeoutError(_) => "no answer in time",
            SdkError::DispatchFailure(_) => "no connection",
            SdkError::ResponseError(_) => "no valid answer",
            _ => return Error::Unexpected("DynamoDB: a request that cannot be sent".to_owned()),
        };
        return Error::Unavailable(format!("DynamoDB: {what}"));
    };
    let code = service_error.code().unwrap_or("no code");
    match code {
        "InternalServerError"
        | "LimitExceededException"
        | "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "ThrottlingException"
        | "TransactionCanceledException"
        | "TransactionInProgressException" => Error::Unavailable(format!("DynamoDB: {code}")),
        // Tells an operator which permission is missing; it quotes names of resources only.
        "AccessDeniedException" => Error::Unexpected(format!(
            "DynamoDB: {code}: {}",
            service_error.message().unwrap_or_default()
        )),
        _ => Error::Unexpected(format!("DynamoDB: {code}")),
    }
}

fn unreadable() -> Error {
    Error::Unexpected("DynamoDB: an item that no code here has written".to_owned())
}

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

/// Reads an item's attributes; nothing for one that is absent, or expired and not yet swept.
///
/// # Errors
/// [`Error::Unexpected`] for an item that no code here has written.
fn read<T: DeserializeOwned>(item: Option<Item>, now: Timestamp) -> Result<Option<T>, Error> {
    let Some(item) = item else { return Ok(None) };
    let ttl: Option<i64> = match item.get("ttl") {
        Some(value) => Some(
            value
                .as_n()
                .map_err(|_| unreadable())?
                .parse()
                .map_err(|_| unreadable())?,
        ),
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
    fn names(&self) -> Option<HashMap<String, String>> {
        let text = format!("{} {}", self.update, self.condition);
        let names = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '#'));
        let names: HashMap<_, _> = names
            .filter_map(|word| Some((word.to_owned(), word.strip_prefix('#')?.to_owned())))
            .collect();
        (!names.is_empty()).then_some(names)
    }

    fn values(&self) -> Option<HashMap<String, AttributeValue>> {
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
