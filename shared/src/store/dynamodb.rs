//! The DynamoDB client: every wait is bounded, every failure is classified.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_runtime::retries::classifiers::{THROTTLING_ERRORS, TRANSIENT_ERRORS};
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use aws_sdk_dynamodb::{Client, Error as ServiceError, config};
use serde::de::DeserializeOwned;
use serde_dynamo::aws_sdk_dynamodb_1::from_item;

use super::Error;
use super::items::{Expression, Item, TransactWriteItem, text};
use crate::aws;
use crate::config::Environment;
use crate::domain::timestamp::Timestamp;
use crate::random;

/// Two connections that died while the environment was frozen cost two attempts; the third one succeeds.
const MAX_ATTEMPTS: u32 = 3;
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(500);
/// The time-out for all attempts together: below the 1.8 s after which the client gets an answer anyway.
const OPERATION_TIMEOUT: Duration = Duration::from_millis(1400);
const INITIAL_BACKOFF: Duration = Duration::from_millis(50);

/// The number of tries for a write that conflicts with a transaction on the same item.
const MAX_CONFLICT_TRIES: u32 = 4;

/// The connection to DynamoDB; a handle that is cheap to clone.
#[derive(Clone)]
pub struct DynamoDb(Client);

impl DynamoDb {
    /// Reads the variables of the AWS SDKs. All stores share one client; it connects with the first request.
    pub fn from_env(environment: &mut Environment) -> Self {
        environment.singleton(|environment| Self::new(&aws::config(environment, "DYNAMODB")))
    }

    fn new(sdk: &SdkConfig) -> Self {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(OPERATION_TIMEOUT);
        let retries = RetryConfig::standard()
            .with_max_attempts(MAX_ATTEMPTS)
            .with_initial_backoff(INITIAL_BACKOFF);
        let config = config::Builder::from(sdk)
            .timeout_config(timeouts.build())
            .retry_config(retries);
        Self(Client::from_conf(config.build()))
    }

    /// Reads one item, strongly consistent.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses, or if this code did not
    /// write the item.
    pub async fn get<T: DeserializeOwned>(
        &self,
        table: &str,
        key: Item,
        now: Timestamp,
    ) -> Result<Option<T>, Error> {
        let request = self.0.get_item().table_name(table).set_key(Some(key));
        let found = request.consistent_read(true).send().await;
        read(answered(found)?.item, now)
    }

    /// Reads these attributes of one item, strongly consistent.
    ///
    /// # Errors
    /// As [`DynamoDb::get`].
    pub async fn get_attributes<T: DeserializeOwned>(
        &self,
        table: &str,
        key: Item,
        attributes: &[&str],
        now: Timestamp,
    ) -> Result<Option<T>, Error> {
        let mut request = self.0.get_item().table_name(table).set_key(Some(key));
        // `ttl` is always read: it says whether the item has expired.
        let names: Vec<&str> = attributes.iter().copied().chain(["ttl"]).collect();
        for name in &names {
            request = request.expression_attribute_names(format!("#{name}"), *name);
        }
        let projection = format!("#{}", names.join(",#"));
        let request = request.projection_expression(projection);
        let found = request.consistent_read(true).send().await;
        read(answered(found)?.item, now)
    }

    /// Reads the items of a partition whose sort keys have this prefix, in order of the sort key, strongly consistent.
    /// Reads one page only, which is enough for the few items of one user.
    ///
    /// # Errors
    /// As [`DynamoDb::get`].
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
        let found = answered(request.send().await)?;
        let items = found.items.unwrap_or_default().into_iter();
        items
            .filter_map(|item| read(Some(item), now).transpose())
            .collect()
    }

    /// Puts one item; returns `false` if the condition did not hold.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn put(&self, table: &str, item: Item, condition: Expression) -> Result<bool, Error> {
        let request = self
            .0
            .put_item()
            .table_name(table)
            .set_item(Some(item))
            .condition_expression(&condition.condition)
            .set_expression_attribute_names(condition.names())
            .set_expression_attribute_values(condition.values());
        Ok(write(|| request.clone().send()).await?.is_some())
    }

    /// Updates one item; returns `false` if the condition did not hold.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn update(
        &self,
        table: &str,
        key: Item,
        expression: Expression,
    ) -> Result<bool, Error> {
        let request = self.update_item(table, key, &expression);
        Ok(write(|| request.clone().send()).await?.is_some())
    }

    /// Updates one item in a single try and returns the updated attributes; `None` if the condition did not hold.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer or a transaction holds the item, [`Error::Unexpected`] if it
    /// refuses, or if this code did not write the item.
    pub async fn update_and_read<T: DeserializeOwned>(
        &self,
        table: &str,
        key: Item,
        expression: Expression,
    ) -> Result<Option<T>, Error> {
        let request = self.update_item(table, key, &expression);
        let request = request.return_values(ReturnValue::UpdatedNew);
        let updated = write_in(1, || request.clone().send()).await?;
        let attributes = updated.and_then(|output| output.attributes);
        let read = attributes.map(|item| from_item(item).map_err(|_| unexpected_data()));
        read.transpose()
    }

    fn update_item(
        &self,
        table: &str,
        key: Item,
        expression: &Expression,
    ) -> UpdateItemFluentBuilder {
        self.0
            .update_item()
            .table_name(table)
            .set_key(Some(key))
            .update_expression(&expression.update)
            .condition_expression(&expression.condition)
            .set_expression_attribute_names(expression.names())
            .set_expression_attribute_values(expression.values())
    }

    /// Writes all items or none. A transaction that conflicts with another one on the same item is retried after a
    /// short random wait, up to three times. The SDK repeats unanswered requests with the same idempotency token, so
    /// nothing is written twice.
    ///
    /// # Errors
    /// [`TransactionError::Refused`] with the meaning of the first condition that did not hold,
    /// [`TransactionError::Store`] if DynamoDB does not answer, refuses, or the conflict persists.
    pub async fn transact<C: Copy>(
        &self,
        writes: Vec<Write<C>>,
    ) -> Result<(), TransactionError<C>> {
        let (items, meanings): (Vec<_>, Vec<_>) = writes
            .into_iter()
            .map(|write| (write.item, write.refused))
            .unzip();
        for attempt in 1..=MAX_CONFLICT_TRIES {
            let request = self
                .0
                .transact_write_items()
                .set_transact_items(Some(items.clone()));
            let Err(error) = request.send().await else {
                return Ok(());
            };
            let reasons = match refusal(error)? {
                ServiceError::TransactionCanceledException(canceled) => {
                    canceled.cancellation_reasons.unwrap_or_default()
                }
                error => return Err(classify(error).into()),
            };
            // The SDK has no type for the codes of cancellation reasons.
            let position = |code| {
                reasons
                    .iter()
                    .position(|reason| reason.code() == Some(code))
            };
            if let Some(meaning) =
                position("ConditionalCheckFailed").and_then(|at| meanings.get(at))
            {
                return Err(TransactionError::Refused(*meaning));
            }
            if position("TransactionConflict").is_none() {
                return Err(unavailable("TransactionCanceledException").into());
            }
            tokio::time::sleep(jitter(attempt)).await;
        }
        Err(Error::Conflict.into())
    }
}

/// One write of a transaction, with the meaning of a failed condition.
pub struct Write<C> {
    /// The write.
    pub item: TransactWriteItem,
    /// The caller's meaning of a failed condition.
    pub refused: C,
}

impl<C> Write<C> {
    /// Creates a write with the meaning of its refusal.
    pub fn new(item: TransactWriteItem, refused: C) -> Self {
        Self { item, refused }
    }

    /// Creates several writes whose refusal means the same.
    pub fn all(items: impl IntoIterator<Item = TransactWriteItem>, refused: C) -> Vec<Self>
    where
        C: Copy,
    {
        let items = items.into_iter();
        items.map(|item| Self::new(item, refused)).collect()
    }
}

/// A random identifier that exists already.
#[derive(Clone, Copy, Debug)]
pub struct Collision;

/// Why a transaction wrote nothing.
#[derive(Debug)]
pub enum TransactionError<C> {
    /// The meaning of the first condition that did not hold.
    Refused(C),
    /// The store failed.
    Store(Error),
}

impl<C> From<Error> for TransactionError<C> {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

/// Returns a random wait of up to 20, 40 or 80 ms.
fn jitter(attempt: u32) -> Duration {
    random::up_to(Duration::from_millis(10 << attempt))
}

/// Sends a single write; `None` if its condition did not hold. A write that conflicts with a transaction on the same
/// item is retried after a short random wait, up to three times.
async fn write<T, E, F>(send: impl Fn() -> F) -> Result<Option<T>, Error>
where
    F: Future<Output = Result<T, SdkError<E>>>,
    ServiceError: From<SdkError<E>>,
{
    write_in(MAX_CONFLICT_TRIES, send).await
}

/// As [`write()`], with this number of tries.
async fn write_in<T, E, F>(tries: u32, send: impl Fn() -> F) -> Result<Option<T>, Error>
where
    F: Future<Output = Result<T, SdkError<E>>>,
    ServiceError: From<SdkError<E>>,
{
    for attempt in 1..=tries {
        let error = match send().await {
            Ok(answer) => return Ok(Some(answer)),
            Err(error) => error,
        };
        match refusal(error)? {
            ServiceError::ConditionalCheckFailedException(_) => return Ok(None),
            ServiceError::TransactionConflictException(_) if attempt < tries => {
                tokio::time::sleep(jitter(attempt)).await;
            }
            ServiceError::TransactionConflictException(_) => break,
            error => return Err(classify(error)),
        }
    }
    Err(Error::Conflict)
}

/// Returns the answer of a read, or its classified error.
fn answered<T, E>(result: Result<T, SdkError<E>>) -> Result<T, Error>
where
    ServiceError: From<SdkError<E>>,
{
    match result {
        Ok(found) => Ok(found),
        Err(error) => Err(classify(refusal(error)?)),
    }
}

/// Returns the error with which DynamoDB refused a request.
///
/// # Errors
/// [`Error::Unavailable`] if DynamoDB does not answer, or answers with a 5xx status.
fn refusal<E>(error: SdkError<E>) -> Result<ServiceError, Error>
where
    ServiceError: From<SdkError<E>>,
{
    match &error {
        SdkError::TimeoutError(_) => return Err(unavailable("no answer in time")),
        SdkError::DispatchFailure(_) => return Err(unavailable("no connection")),
        SdkError::ResponseError(_) => return Err(unavailable("no valid answer")),
        _ => {}
    }
    let status = error.raw_response().map(HttpResponse::status);
    let error = ServiceError::from(error);
    match status.filter(|status| status.is_server_error()) {
        Some(status) => Err(unavailable(error.code().unwrap_or(&status.to_string()))),
        None => Ok(error),
    }
}

/// Classifies a refusal. Leaves the service's own message out, as it could quote an item.
fn classify(error: ServiceError) -> Error {
    let code = error.code().unwrap_or("no code");
    // The SDK has types for some of these codes only.
    if THROTTLING_ERRORS.contains(&code) || TRANSIENT_ERRORS.contains(&code) {
        return unavailable(code);
    }
    match code {
        // The message tells an operator which permission is missing; it only quotes names of resources.
        "AccessDeniedException" => {
            let message = error.message().unwrap_or_default();
            Error::Unexpected(format!("DynamoDB: {code}: {message}"))
        }
        _ => Error::Unexpected(format!("DynamoDB: {code}")),
    }
}

fn unavailable(what: &str) -> Error {
    Error::Unavailable(format!("DynamoDB: {what}"))
}

fn unexpected_data() -> Error {
    Error::Unexpected("DynamoDB: an item that no code here has written".to_owned())
}

/// Deserialises an item; `None` if it is absent, or expired and not yet deleted.
///
/// # Errors
/// [`Error::Unexpected`] if this code did not write the item.
fn read<T: DeserializeOwned>(item: Option<Item>, now: Timestamp) -> Result<Option<T>, Error> {
    let Some(item) = item else { return Ok(None) };
    let ttl: Option<i64> = match item.get("ttl") {
        Some(AttributeValue::N(number)) => Some(number.parse().map_err(|_| unexpected_data())?),
        Some(_) => return Err(unexpected_data()),
        None => None,
    };
    if ttl.is_some_and(|ttl| ttl <= now.seconds()) {
        return Ok(None);
    }
    from_item(item).map(Some).map_err(|_| unexpected_data())
}
