//! Requests to services of AWS: one JSON document there, one back; signed, tried again, and no wait
//! without an end. AWS' own client does more than that, and takes more instructions for one read than all
//! the rest of a profile (README, "How fast it is").

mod signature;

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, DATE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::{Instant, sleep, timeout_at};

use self::signature::Signer;
use crate::connections::Connections;
use crate::domain::secret::Secret;
use crate::domain::timestamp::Timestamp;
use crate::{clock, random};

/// Where a service of AWS is, and who asks.
#[derive(Clone, Debug)]
pub struct Config {
    /// `AWS_REGION`.
    pub region: String,
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Secret,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: Option<Secret>,
    /// Another address than the region's own.
    pub endpoint: Option<Uri>,
}

/// What is the same for all requests to a service.
pub struct Api {
    /// The first label of its host.
    pub host: &'static str,
    /// What signatures call it.
    pub name: &'static str,
    /// Where its requests go.
    pub path: &'static str,
    /// What they are.
    pub content_type: &'static str,
    /// How long each of them is worth waiting for.
    pub patience: Patience,
}

/// How long to wait, and how often to try.
#[derive(Clone, Copy)]
pub struct Patience {
    /// At most so many tries.
    pub tries: u32,
    /// For one of them, connecting included.
    pub one: Duration,
    /// For all of them.
    pub all: Duration,
}

/// Headers of a request at most, with its signature and its length.
const MOST_HEADERS: usize = 7;

/// Second and further tries that an environment has, until successes give them back: a service that is
/// down is not asked three times as often.
const RETRIES: u32 = 50;

/// A service of AWS. It is connected to by the first request; connections are kept.
pub struct Service {
    connections: Connections,
    api: Api,
    /// What the host is asked for.
    path: Uri,
    host: String,
    /// Beside the signature.
    session_token: Option<Secret>,
    signer: Signer,
    /// Tries that are left.
    retries: AtomicU32,
    /// How far the service's clock is ahead of this one, in milliseconds.
    ahead: AtomicI64,
}

/// Why a request has no result. Without `Debug`: what a service answers may quote what was sent.
pub enum Failure {
    /// The service says why.
    Refused(Refusal),
    /// It does not say anything; whether it did what it was asked, nobody knows.
    NoAnswer(&'static str),
}

/// What a service says to what it does not do.
pub struct Refusal {
    status: StatusCode,
    /// The name of the error, such as `ThrottlingException`, or the status where it has none.
    pub code: String,
    /// For people. It may quote what was sent.
    pub message: String,
    /// All of it.
    pub body: Bytes,
}

impl Service {
    /// This service.
    #[expect(clippy::expect_used, reason = "the path of an address is one")]
    pub fn new(config: Config, api: Api) -> Self {
        let uri = address(&config, &api);
        Self {
            host: host(&uri),
            path: uri.path().parse().expect("a path"),
            connections: Connections::new(uri),
            session_token: config.session_token.clone(),
            signer: Signer::new(config, api.name),
            api,
            retries: AtomicU32::new(RETRIES),
            ahead: AtomicI64::new(0),
        }
    }

    /// Asks the service, for `target` where it has several operations at one address. What gets no answer,
    /// or one that another try may better, is sent again: it must mean the same the second time, or its caller
    /// must know that it may have happened.
    ///
    /// # Errors
    /// What the last try came to.
    pub async fn post(&self, target: Option<&'static str>, body: Bytes) -> Result<Bytes, Failure> {
        let patience = self.api.patience;
        let end = Instant::now() + patience.all;
        let mut tried = 1;
        loop {
            let one = end.min(Instant::now() + patience.one);
            let answer = timeout_at(one, self.send(target, body.clone())).await;
            let failure = match answer.unwrap_or(Err(Failure::NoAnswer("no answer in time"))) {
                Ok(answer) => {
                    self.give_back();
                    return Ok(answer);
                }
                Err(failure) if !failure.may_pass() => return Err(failure),
                Err(failure) => failure,
            };
            // Up to 50, then 100 ms: who was turned away together does not come back together.
            let wait = random::up_to(Duration::from_millis(25 << tried));
            let is_last = tried == patience.tries || Instant::now() + wait >= end;
            if is_last || !self.take_retry() {
                return Err(failure);
            }
            tried += 1;
            sleep(wait).await;
        }
    }

    fn take_retry(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        let taken = self
            .retries
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        taken.is_ok()
    }

    fn give_back(&self) {
        let one_more = |left: u32| (left < RETRIES).then_some(left + 1);
        let _ = self
            .retries
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
    }

    async fn send(&self, target: Option<&'static str>, body: Bytes) -> Result<Bytes, Failure> {
        let request = self.request(target, body);
        let answer = self.connections.exchange(request).await;
        let (parts, body) = answer.map_err(Failure::NoAnswer)?.into_parts();
        if parts.status.is_success() {
            return Ok(body);
        }
        let refusal = Refusal::new(parts.status, &parts.headers, body);
        if refusal.is_about_time()
            && let Some(its) = date(&parts.headers)
        {
            let ahead = its.milliseconds() - clock::now().milliseconds();
            self.ahead.store(ahead, Ordering::Relaxed);
        }
        Err(Failure::Refused(refusal))
    }

    #[expect(
        clippy::expect_used,
        reason = "the configuration has only what headers hold"
    )]
    fn request(&self, target: Option<&'static str>, body: Bytes) -> Request<Full<Bytes>> {
        // An environment that was frozen may wake with the time of yesterday.
        let now = clock::now().milliseconds() + self.ahead.load(Ordering::Relaxed);
        let date = signature::date(Timestamp::from_milliseconds(now));
        let headers = signature::Headers {
            content_type: self.api.content_type,
            host: &self.host,
            date: &date,
            session_token: self.session_token.as_ref().map(Secret::expose),
            target,
        };
        let authorization = self.signer.sign(self.path.path(), &headers, &body);
        let value = |text: &str| {
            let mut value = HeaderValue::from_str(text).expect("a header");
            value.set_sensitive(true);
            value
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        let sent = request.headers_mut();
        sent.reserve(MOST_HEADERS);
        sent.insert(AUTHORIZATION, value(&authorization));
        sent.extend(headers.in_order().map(|(name, text)| (name, value(text))));
        request
    }
}

impl Failure {
    /// Whether another try may end better: the network, a crowd, or a fault of the service's own.
    fn may_pass(&self) -> bool {
        match self {
            Self::NoAnswer(_) => true,
            Self::Refused(refusal) => refusal.may_pass() || refusal.is_about_time(),
        }
    }
}

impl Refusal {
    fn new(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Self {
        /// Spelt in several ways, all of which occur.
        #[derive(Default, Deserialize)]
        struct Said {
            #[serde(rename = "__type")]
            kind: Option<String>,
            code: Option<String>,
            message: Option<String>,
            #[serde(rename = "Message")]
            capital: Option<String>,
        }
        let said: Said = serde_json::from_slice(&body).unwrap_or_default();
        let header = headers.get("x-amzn-errortype");
        let header = header.and_then(|value| value.to_str().ok());
        let code = header.or(said.kind.as_deref()).or(said.code.as_deref());
        // `com.amazonaws.dynamodb.v20120810#ThrottlingException`, `MessageRejected:http://…`
        let code = code.unwrap_or_default();
        let code = code.split(':').next().unwrap_or_default();
        let code = code.rsplit('#').next().unwrap_or_default();
        let code = if code.is_empty() {
            status.as_str()
        } else {
            code
        };
        Self {
            code: code.to_owned(),
            status,
            message: said.message.or(said.capital).unwrap_or_default(),
            body,
        }
    }

    /// Whether a clock is wrong, perhaps: AWS takes a signature for five minutes.
    fn is_about_time(&self) -> bool {
        matches!(
            self.code.as_str(),
            "InvalidSignatureException"
                | "RequestExpired"
                | "RequestTimeTooSkewed"
                | "SignatureDoesNotMatch"
        )
    }

    /// Whether the same request may succeed later: the service is at fault, or too much is asked of it.
    pub fn may_pass(&self) -> bool {
        self.status.is_server_error()
            || matches!(
                self.code.as_str(),
                "LimitExceededException"
                    | "ProvisionedThroughputExceededException"
                    | "RequestLimitExceeded"
                    | "RequestTimeout"
                    | "RequestTimeoutException"
                    | "Throttling"
                    | "ThrottlingException"
                    | "TooManyRequestsException"
                    | "TransactionInProgressException"
            )
    }
}

/// Where this API is asked: in the region, unless the configuration says where else.
#[expect(
    clippy::expect_used,
    reason = "a region is a name, an endpoint an address, and the rest are constants"
)]
fn address(config: &Config, api: &Api) -> Uri {
    let (region, path) = (&config.region, api.path);
    let address = match &config.endpoint {
        None => format!("https://{}.{region}.{}{path}", api.host, suffix(region)),
        Some(endpoint) => format!(
            "{}://{}{}{path}",
            endpoint.scheme_str().unwrap_or("https"),
            endpoint
                .authority()
                .map_or("", |authority| authority.as_str()),
            endpoint.path().trim_end_matches('/')
        ),
    };
    address.parse().expect("an address")
}

/// What the header `Host` says: the port, too, where it is not the scheme's own.
fn host(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    match (uri.scheme_str(), uri.port_u16()) {
        (_, None) | (Some("http"), Some(80)) | (Some("https"), Some(443)) => host.to_owned(),
        (_, Some(port)) => format!("{host}:{port}"),
    }
}

/// What the hosts of a region's partition end in (botocore, `partitions.json`).
fn suffix(region: &str) -> &'static str {
    let partitions = [
        ("cn-", "amazonaws.com.cn"),
        ("eusc-", "amazonaws.eu"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
    ];
    let mut partitions = partitions.into_iter();
    let found = partitions.find(|(prefix, _)| region.starts_with(prefix));
    found.map_or("amazonaws.com", |(_, suffix)| suffix)
}

/// When the service answered, by its own clock.
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let date = OffsetDateTime::parse(date, &Rfc2822).ok()?;
    Some(Timestamp::from_milliseconds(date.unix_timestamp() * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::tests::{Answer, Server};

    const API: Api = Api {
        host: "email",
        name: "ses",
        path: "/v2/mails",
        content_type: "application/json",
        patience: Patience {
            tries: 1,
            one: Duration::ZERO,
            all: Duration::ZERO,
        },
    };

    #[test]
    fn addresses_by_example() {
        for (region, endpoint, address, expected_host) in [
            (
                "eu-central-1",
                None,
                "https://email.eu-central-1.amazonaws.com/v2/mails",
                "email.eu-central-1.amazonaws.com",
            ),
            (
                "cn-north-1",
                None,
                "https://email.cn-north-1.amazonaws.com.cn/v2/mails",
                "email.cn-north-1.amazonaws.com.cn",
            ),
            (
                "x",
                Some("http://127.0.0.1:4566"),
                "http://127.0.0.1:4566/v2/mails",
                "127.0.0.1:4566",
            ),
            (
                "x",
                Some("https://example.com:443/aws/"),
                "https://example.com:443/aws/v2/mails",
                "example.com",
            ),
        ] {
            let config = Config {
                region: region.to_owned(),
                access_key_id: String::new(),
                secret_access_key: Secret::default(),
                session_token: None,
                endpoint: endpoint.map(Uri::from_static),
            };

            let uri = super::address(&config, &API);

            assert_eq!(
                (uri.to_string().as_str(), host(&uri).as_str()),
                (address, expected_host)
            );
        }
    }

    #[test]
    fn refusals_by_example() {
        let refusal = |status: u16, header: Option<&'static str>, body: &'static str| {
            let mut headers = HeaderMap::new();
            if let Some(value) = header {
                headers.insert("x-amzn-errortype", HeaderValue::from_static(value));
            }
            let status = StatusCode::from_u16(status).unwrap();
            Refusal::new(status, &headers, Bytes::from_static(body.as_bytes()))
        };
        let throttled =
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"slow"}"#;
        let refused =
            r#"{"__type":"a#ConditionalCheckFailedException","Message":"no","x":{"y":1}}"#;
        for (refusal, code, message, may_pass) in [
            (
                refusal(400, None, throttled),
                "ThrottlingException",
                "slow",
                true,
            ),
            (
                refusal(400, None, refused),
                "ConditionalCheckFailedException",
                "no",
                false,
            ),
            (
                refusal(
                    400,
                    Some("MessageRejected:http://example.com/"),
                    r#"{"message":"m"}"#,
                ),
                "MessageRejected",
                "m",
                false,
            ),
            (
                refusal(403, None, r#"{"code":"AccessDenied"}"#),
                "AccessDenied",
                "",
                false,
            ),
            (refusal(502, None, "<html>"), "502", "", true),
        ] {
            assert_eq!(
                (
                    refusal.code.as_str(),
                    refusal.message.as_str(),
                    refusal.may_pass()
                ),
                (code, message, may_pass)
            );
        }
    }

    #[test]
    fn the_date_of_an_answer_is_a_time() {
        let mut headers = HeaderMap::new();
        assert_eq!(date(&headers), None);

        headers.insert(
            DATE,
            HeaderValue::from_static("Sun, 30 Aug 2015 12:36:00 GMT"),
        );

        assert_eq!(
            date(&headers),
            Some(Timestamp::from_milliseconds(1_440_938_160_000))
        );
    }

    #[tokio::test]
    async fn a_service_that_is_down_is_asked_again_only_as_long_as_there_are_retries() {
        let server = Server::start(&[500, 500, 500].map(Answer::Status)).await;
        let config = Config {
            region: String::new(),
            access_key_id: String::new(),
            secret_access_key: Secret::default(),
            session_token: None,
            endpoint: Some(server.address()),
        };
        let patience = Patience {
            tries: 3,
            one: Duration::from_secs(5),
            all: Duration::from_secs(5),
        };
        let service = Service::new(config, Api { patience, ..API });
        service.retries.store(1, Ordering::Relaxed);

        for asked in [2, 3] {
            let answer = service.post(None, Bytes::new()).await;

            assert!(matches!(answer, Err(Failure::Refused(refusal)) if refusal.code == "500"));
            assert_eq!(server.asked(), asked);
        }
    }
}
