//! An HTTP API's authorizers (API Gateway developer guide, "Control access to HTTP APIs with AWS Lambda authorizers" and
//! "with JWT authorizers").

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::Error;
use crate::identity::{ACCOUNT, REGION, function_and_alias};
use crate::lambda::Lambda;
use crate::log::Log;
use crate::template::Authorizer;

/// How long API Gateway keeps an issuer's keys.
const KEYS_ARE_KEPT: Duration = Duration::from_secs(2 * 60 * 60);
/// How long an issuer may take to answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// The most bytes of an issuer's documents.
const MAX_DOCUMENT: usize = 256 * 1024;

/// The reason why a request does not reach its function.
#[derive(Clone, Copy)]
pub(super) enum Refusal {
    /// The token is missing or invalid.
    Unauthorized,
    /// The function does not let the request through.
    Forbidden,
    /// The function gave no valid answer.
    Failed,
}

impl Refusal {
    /// Returns the status and the message of API Gateway's answer.
    pub(super) fn answer(self) -> (StatusCode, &'static str) {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "Forbidden"),
            Self::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        }
    }
}

/// Asks authorizers.
pub struct Authorization {
    /// The functions that authorizers can be.
    lambdas: Vec<Arc<Lambda>>,
    /// The issuers' keys, and when they were fetched.
    keys: Mutex<BTreeMap<String, (Instant, Arc<JwkSet>)>>,
    client: Client<HttpConnector, Body>,
    log: Log,
}

impl Authorization {
    pub(crate) fn new(lambdas: Vec<Arc<Lambda>>, log: Log) -> Self {
        Self {
            lambdas,
            keys: Mutex::default(),
            client: Client::builder(TokioExecutor::new()).build(HttpConnector::new()),
            log,
        }
    }

    /// Returns the part `requestContext.authorizer` of a request's event.
    pub(super) async fn ask(
        &self,
        authorizer: &Authorizer,
        event: &Value,
    ) -> Result<Value, Refusal> {
        match authorizer {
            Authorizer::Lambda { arn, headers } => self.ask_function(arn, headers, event).await,
            Authorizer::Jwt { issuer, audiences } => {
                let token = bearer_token(event).ok_or(Refusal::Unauthorized)?;
                match self.verify(token, issuer, audiences).await {
                    Ok(claims) => Ok(json!({ "jwt": { "claims": claims, "scopes": null } })),
                    Err(error) => {
                        self.log
                            .add("gateway", &format!("a token is refused: {error}"));
                        Err(Refusal::Unauthorized)
                    }
                }
            }
        }
    }

    async fn ask_function(
        &self,
        arn: &str,
        headers: &[String],
        event: &Value,
    ) -> Result<Value, Refusal> {
        let sources = headers.iter().map(|name| event["headers"][name].as_str());
        let sources: Option<Vec<&str>> = sources.collect();
        let sources = sources.ok_or(Refusal::Unauthorized)?;
        let (name, alias) = function_and_alias(arn).ok_or(Refusal::Failed)?;
        let mut lambdas = self.lambdas.iter();
        let lambda = lambdas.find(|lambda| lambda.function.name == name);
        let question = question(event, &sources).to_string();
        let answer = lambda
            .ok_or(Refusal::Failed)?
            .invoke_alias(alias, Bytes::from(question))
            .await
            .map_err(|_| Refusal::Failed)?;
        let mut answer: Value = serde_json::from_slice(&answer).map_err(|_| Refusal::Failed)?;
        match answer["isAuthorized"].as_bool() {
            Some(true) => Ok(json!({ "lambda": answer["context"].take() })),
            Some(false) => Err(Refusal::Forbidden),
            None => Err(Refusal::Failed),
        }
    }

    /// Returns the claims of a valid token, as texts.
    async fn verify(
        &self,
        token: &str,
        issuer: &str,
        audiences: &[String],
    ) -> Result<Value, Error> {
        let header = decode_header(token)?;
        // API Gateway takes these alone.
        if !matches!(
            header.alg,
            Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512
        ) {
            return Err("its algorithm is not RSA's".into());
        }
        let keys = self.keys(issuer).await?;
        let key = header.kid.as_deref().and_then(|id| keys.find(id));
        let key = DecodingKey::from_jwk(key.ok_or("its key is not the issuer's")?)?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[issuer]);
        validation.set_audience(audiences);
        validation.validate_nbf = true;
        validation.leeway = 0;
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let claims = decode::<Map<String, Value>>(token, &key, &validation)?.claims;
        let now = OffsetDateTime::now_utc().unix_timestamp();
        if claims
            .get("iat")
            .and_then(Value::as_i64)
            .is_some_and(|issued| issued > now)
        {
            return Err("it is of the future".into());
        }
        let claims = claims.into_iter().map(|(name, value)| (name, text(&value)));
        Ok(Value::Object(claims.collect()))
    }

    /// Returns an issuer's keys, fetched by discovery (OpenID Connect Discovery 1.0, 4).
    async fn keys(&self, issuer: &str) -> Result<Arc<JwkSet>, Error> {
        let mut kept = self.keys.lock().await;
        if let Some((fetched, keys)) = kept.get(issuer)
            && fetched.elapsed() < KEYS_ARE_KEPT
        {
            return Ok(keys.clone());
        }
        let without_slash = issuer.trim_end_matches('/');
        let metadata = format!("{without_slash}/.well-known/openid-configuration");
        let metadata: Value = serde_json::from_slice(&self.document(&metadata).await?)?;
        let keys = metadata["jwks_uri"]
            .as_str()
            .ok_or("the issuer names no keys")?;
        let keys: Arc<JwkSet> = Arc::new(serde_json::from_slice(&self.document(keys).await?)?);
        kept.insert(issuer.to_owned(), (Instant::now(), keys.clone()));
        Ok(keys)
    }

    async fn document(&self, url: &str) -> Result<Bytes, Error> {
        let failed = |error: &dyn std::fmt::Display| format!("{url}: {error}");
        let uri = Uri::try_from(url).map_err(|error| failed(&error))?;
        let answer = timeout(FETCH_TIMEOUT, self.client.get(uri)).await;
        let answer = answer.map_err(|error| failed(&error))?;
        let answer = answer.map_err(|error| failed(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(failed(&answer.status()).into());
        }
        let body = axum::body::to_bytes(Body::new(answer.into_body()), MAX_DOCUMENT);
        Ok(body.await.map_err(|error| failed(&error))?)
    }
}

/// Returns a request's event as a Lambda authorizer gets it: payload format 2.0, without the body.
fn question(event: &Value, sources: &[&str]) -> Value {
    let mut question = event.clone();
    if let Some(fields) = question.as_object_mut() {
        fields.remove("body");
        fields.remove("isBase64Encoded");
    }
    let (method, path) = (
        &event["requestContext"]["http"]["method"],
        &event["rawPath"],
    );
    let (method, path) = (
        method.as_str().unwrap_or_default(),
        path.as_str().unwrap_or_default(),
    );
    question["type"] = json!("REQUEST");
    question["routeArn"] = json!(format!(
        "arn:aws:execute-api:{REGION}:{ACCOUNT}:local/$default/{method}{path}"
    ));
    question["identitySource"] = json!(sources);
    question
}

fn bearer_token(event: &Value) -> Option<&str> {
    let header = event["headers"]["authorization"].as_str()?;
    let (scheme, token) = header.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_start())
}

/// Returns a claim as a function finds it in its event: API Gateway makes texts of numbers, and `[a b]` of lists.
fn text(claim: &Value) -> Value {
    match claim {
        Value::String(_) => claim.clone(),
        Value::Array(items) => {
            let items = items.iter().map(|item| match item {
                Value::String(item) => item.clone(),
                other => other.to_string(),
            });
            json!(format!("[{}]", items.collect::<Vec<_>>().join(" ")))
        }
        other => json!(other.to_string()),
    }
}
