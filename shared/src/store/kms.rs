//! AWS KMS: signs access tokens with keys that never leave it. Every wait is bounded, every failure is classified.

use std::time::Duration;

use aws_runtime::retries::classifiers::{THROTTLING_ERRORS, TRANSIENT_ERRORS};
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::sign::SignError;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{MessageType, SigningAlgorithmSpec};
use aws_sdk_kms::{Client, config};

use super::Error;
use crate::aws;
use crate::config::Environment;
use crate::domain::token::KmsKey;

/// Two connections that died while the environment was frozen cost two attempts; the third one succeeds.
const MAX_ATTEMPTS: u32 = 3;
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(400);
/// The time-out for all attempts together. The client gets an answer after 1.8 s; half of that time is left for the
/// stores, and for undoing a rotation after a failure.
const OPERATION_TIMEOUT: Duration = Duration::from_millis(900);
const INITIAL_BACKOFF: Duration = Duration::from_millis(50);

/// The connection to KMS.
pub struct Kms(Client);

impl Kms {
    /// Reads the variables of the AWS SDKs. It connects with the first request.
    pub fn from_env(environment: &mut Environment) -> Self {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(OPERATION_TIMEOUT);
        let retries = RetryConfig::standard()
            .with_max_attempts(MAX_ATTEMPTS)
            .with_initial_backoff(INITIAL_BACKOFF);
        let config = config::Builder::from(&aws::config(environment, "KMS"))
            .timeout_config(timeouts.build())
            .retry_config(retries);
        Self(Client::from_conf(config.build()))
    }

    /// Signs a message of up to 4096 bytes with RS256 (RFC 7518, 3.3).
    ///
    /// # Errors
    /// [`Error::Unavailable`] if KMS does not answer or throttles, [`Error::Unexpected`] if it refuses.
    pub async fn sign(&self, key: &KmsKey, message: &[u8]) -> Result<Vec<u8>, Error> {
        let request = self.0.sign().key_id(&key.arn);
        let request = request.message(Blob::new(message));
        let request = request.message_type(MessageType::Raw);
        let algorithm = SigningAlgorithmSpec::RsassaPkcs1V15Sha256;
        let signed = request.signing_algorithm(algorithm).send().await;
        let signature = signed.map_err(classify)?.signature;
        let signature = signature.ok_or_else(|| Error::Unexpected("KMS: no signature".to_owned()));
        Ok(signature?.into_inner())
    }
}

fn classify(error: SdkError<SignError>) -> Error {
    let unavailable = |problem: &str| Error::Unavailable(format!("KMS: {problem}"));
    match &error {
        SdkError::TimeoutError(_) => return unavailable("no answer in time"),
        SdkError::DispatchFailure(_) => return unavailable("no connection"),
        SdkError::ResponseError(_) => return unavailable("no valid answer"),
        _ => {}
    }
    let is_fault = error
        .raw_response()
        .is_some_and(|response| response.status().is_server_error());
    let code = error.code().unwrap_or("no code");
    if is_fault || THROTTLING_ERRORS.contains(&code) || TRANSIENT_ERRORS.contains(&code) {
        return unavailable(code);
    }
    Error::Unexpected(format!(
        "KMS: {code}: {}",
        error.message().unwrap_or_default()
    ))
}
