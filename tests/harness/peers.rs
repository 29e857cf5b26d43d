//! Peers that fail on command: a TCP proxy for Redis or DynamoDB, an HTTP proxy for DynamoDB or SES, and a source of
//! AWS credentials.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use axum::{Json, Router};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Returns the host and port of a URL.
pub fn address(url: &str) -> &str {
    let (_, rest) = url.split_once("://").unwrap();
    rest.trim_end_matches('/')
}

/// The behaviour of a [`TcpProxy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forwards all bytes.
    Forward,
    /// Closes every connection, including new ones.
    Gone,
    /// Keeps every connection open but silent, including new ones.
    Silent,
}

/// A TCP proxy on a port of its own.
pub struct TcpProxy {
    pub address: String,
    upstream: Arc<Mutex<String>>,
    mode: watch::Sender<Mode>,
    /// Connections of an older generation are silent.
    generation: watch::Sender<u64>,
    held: Arc<Held>,
}

/// The requests to hold back, and whether one is held.
#[derive(Default)]
struct Held {
    /// A text, and the number of requests with it that pass before others are held.
    rule: Mutex<Option<(String, usize)>>,
    is_holding: watch::Sender<bool>,
}

impl Held {
    /// Waits while these bytes are to be held back. Returns whether it waited.
    async fn pass(&self, bytes: &[u8]) -> bool {
        let is_held = {
            let mut rule = self.rule.lock().unwrap();
            let text = String::from_utf8_lossy(bytes);
            match rule
                .as_mut()
                .filter(|(needle, _)| text.contains(needle.as_str()))
            {
                None => false,
                Some((_, 0)) => {
                    self.is_holding.send_replace(true);
                    true
                }
                Some((_, passes)) => {
                    *passes -= 1;
                    false
                }
            }
        };
        if is_held {
            let _ = self.is_holding.subscribe().wait_for(|held| !held).await;
        }
        is_held
    }
}

impl TcpProxy {
    /// Starts a proxy that forwards to this address.
    pub async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let upstream = Arc::new(Mutex::new(upstream.to_owned()));
        let (mode, _) = watch::channel(Mode::Forward);
        let (generation, _) = watch::channel(0);
        let proxy = Self {
            address,
            upstream,
            mode,
            generation,
            held: Arc::default(),
        };
        let (upstream, mode, generation, held) = (
            proxy.upstream.clone(),
            proxy.mode.subscribe(),
            proxy.generation.subscribe(),
            proxy.held.clone(),
        );
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let upstream = upstream.lock().unwrap().clone();
                tokio::spawn(connection(
                    client,
                    upstream,
                    mode.clone(),
                    generation.clone(),
                    held.clone(),
                ));
            }
        });
        proxy
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    pub fn set_upstream(&self, address: &str) {
        *self.upstream.lock().unwrap() = address.to_owned();
    }

    /// Holds back the requests that contain this text, except the first `but` of them.
    pub fn hold_back(&self, text: &str, but: usize) {
        *self.held.rule.lock().unwrap() = Some((text.to_owned(), but));
    }

    /// Waits until a request is held.
    pub async fn wait_until_held(&self) {
        let mut holding = self.held.is_holding.subscribe();
        let _ = holding.wait_for(|held| *held).await;
    }

    /// Releases the held requests, including those whose sender has given up.
    pub fn release(&self) {
        *self.held.rule.lock().unwrap() = None;
        self.held.is_holding.send_replace(false);
    }

    /// Makes the existing connections die silently, as during a freeze; new ones work.
    pub fn freeze_connections(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }
}

async fn connection(
    mut client: TcpStream,
    upstream: String,
    mut mode: watch::Receiver<Mode>,
    mut generation: watch::Receiver<u64>,
    held: Arc<Held>,
) {
    let born = *generation.borrow_and_update();
    let Ok(mut server) = TcpStream::connect(upstream).await else {
        return;
    };
    let (mut from_client, mut from_server) = ([0; 16 * 1024], [0; 16 * 1024]);
    loop {
        let now = *mode.borrow_and_update();
        if now == Mode::Gone {
            return;
        }
        if now == Mode::Silent || *generation.borrow_and_update() != born {
            // The connection stays open but dead until the proxy closes all of them.
            if mode.wait_for(|mode| *mode == Mode::Gone).await.is_err() {
                return;
            }
            continue;
        }
        tokio::select! {
            biased;
            changed = mode.changed() => if changed.is_err() { return },
            changed = generation.changed() => if changed.is_err() { return },
            read = client.read(&mut from_client) => match read {
                Ok(length @ 1..) => {
                    let was_held = held.pass(&from_client[..length]).await;
                    if server.write_all(&from_client[..length]).await.is_err() { return }
                    if was_held {
                        // The sender may have given up; a server that sees the closed connection would not execute the
                        // request.
                        let _ = tokio::time::timeout(Duration::from_secs(2), server.readable()).await;
                    }
                }
                _ => return,
            },
            read = server.read(&mut from_server) => match read {
                Ok(length @ 1..) => if client.write_all(&from_server[..length]).await.is_err() { return },
                _ => return,
            },
        }
    }
}

/// A fault of a [`FaultyService`]: the operation, and the status and body of the answer.
#[derive(Clone, Debug)]
pub struct Fault {
    pub operation: &'static str,
    pub status: u16,
    pub body: String,
    /// Whether the real service executes the request all the same, so that only the answer is lost.
    pub is_executed: bool,
    /// The error's name, if it belongs in a header.
    pub kind: Option<&'static str>,
    /// The service's time, if it differs from this machine's.
    pub date: Option<&'static str>,
}

impl Fault {
    /// Returns a refusal by DynamoDB.
    fn refusal(operation: &'static str, body: &str) -> Self {
        Self {
            operation,
            status: 400,
            body: body.to_owned(),
            is_executed: false,
            kind: None,
            date: None,
        }
    }

    /// Returns a conflict of two transactions, which the emulator never reports.
    pub fn transaction_conflict() -> Self {
        let body = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","CancellationReasons":[{"Code":"TransactionConflict","Message":"Transaction is ongoing for the item"}],"Message":"Transaction cancelled"}"#;
        Self::refusal("TransactWriteItems", body)
    }

    /// Returns the refusal of a transaction of two items, because the second one has changed.
    pub fn second_item_changed() -> Self {
        let body = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","CancellationReasons":[{"Code":"None"},{"Code":"ConditionalCheckFailed","Message":"The conditional request failed"}],"Message":"Transaction cancelled"}"#;
        Self::refusal("TransactWriteItems", body)
    }

    /// Returns a throttling error, which the emulator never reports either.
    pub fn throttled(operation: &'static str) -> Self {
        let body = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"Rate exceeded"}"#;
        Self::refusal(operation, body)
    }

    /// Returns AWS' refusal of a signature of another time, with AWS' own time.
    pub fn wrong_time(operation: &'static str) -> Self {
        let body = r#"{"__type":"com.amazon.coral.service#InvalidSignatureException","message":"Signature expired"}"#;
        Self {
            date: Some("Thu, 01 Jan 2037 00:00:00 GMT"),
            ..Self::refusal(operation, body)
        }
    }

    /// Returns a refusal that a retry does not help.
    pub fn refused(operation: &'static str) -> Self {
        let body =
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#AccessDeniedException","Message":"no"}"#;
        Self::refusal(operation, body)
    }

    /// Returns a conflict of a single write with a transaction.
    pub fn write_conflict(operation: &'static str) -> Self {
        let body = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionConflictException","message":"Transaction is ongoing for the item"}"#;
        Self::refusal(operation, body)
    }

    /// Returns a refusal of a mail by SES.
    pub fn mail(status: u16, kind: &'static str) -> Self {
        Self {
            operation: "/v2/email/outbound-emails",
            status,
            body: "{}".to_owned(),
            is_executed: false,
            kind: Some(kind),
            date: None,
        }
    }

    /// Returns a fault that executes the request but loses its answer.
    pub fn lost_answer(operation: &'static str) -> Self {
        Self {
            operation,
            status: 500,
            body: "{}".to_owned(),
            is_executed: true,
            kind: None,
            date: None,
        }
    }
}

/// An HTTP proxy for DynamoDB or SES that answers some requests itself.
#[derive(Clone)]
pub struct FaultyService {
    pub url: String,
    state: Arc<Mutex<Faults>>,
}

#[derive(Default)]
struct Faults {
    upstream: String,
    queue: VecDeque<Fault>,
    operations: Vec<String>,
    /// A session token that has expired.
    expired_token: Option<String>,
    /// Whether the time of signatures is checked.
    reads_clocks: bool,
}

impl FaultyService {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let proxy = Self {
            url,
            state: Arc::default(),
        };
        let router = Router::new().fallback(forward).with_state(proxy.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        proxy
    }

    pub fn set_upstream(&self, url: &str) {
        self.state.lock().unwrap().upstream = url.to_owned();
    }

    /// Adds faults. Each of them answers one request to its operation.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().queue.extend(faults);
    }

    /// Removes the remaining faults.
    pub fn recover(&self) {
        self.state.lock().unwrap().queue.clear();
    }

    /// From now on, refuses this session token as expired.
    pub fn expire(&self, session_token: &str) {
        self.state.lock().unwrap().expired_token = Some(session_token.to_owned());
    }

    /// From now on, refuses signatures that are more than five minutes off, as AWS does.
    pub fn read_clocks(&self) {
        self.state.lock().unwrap().reads_clocks = true;
    }

    /// Returns the refusal of a request whose signature AWS would not accept.
    fn refusal(&self, headers: &HeaderMap) -> Option<Fault> {
        let state = self.state.lock().unwrap();
        let header = |name| headers.get(name).map(|value| value.to_str().unwrap());
        let token = header("x-amz-security-token");
        if token.is_some() && token == state.expired_token.as_deref() {
            let body = r#"{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"The security token included in the request is expired"}"#;
            return Some(Fault::refusal("", body));
        }
        let date = header("x-amz-date").filter(|_| state.reads_clocks)?;
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let signed = PrimitiveDateTime::parse(date, format).unwrap().assume_utc();
        let difference = (OffsetDateTime::now_utc() - signed).abs();
        let is_old = difference > Duration::from_secs(5 * 60);
        is_old.then(|| Fault {
            date: None,
            ..Fault::wrong_time("")
        })
    }

    /// Returns the number of remaining faults.
    pub fn faults_left(&self) -> usize {
        self.state.lock().unwrap().queue.len()
    }

    /// Returns the operations that were requested so far.
    pub fn operations(&self) -> Vec<String> {
        self.state.lock().unwrap().operations.clone()
    }

    fn take(&self, operation: &str) -> Option<Fault> {
        let mut state = self.state.lock().unwrap();
        state.operations.push(operation.to_owned());
        let mut queue = state.queue.iter();
        let at = queue.position(|fault| fault.operation == operation)?;
        state.queue.remove(at)
    }
}

async fn forward(
    State(proxy): State<FaultyService>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let target = headers
        .get("x-amz-target")
        .map(|value| value.to_str().unwrap());
    let operation = target.map_or(uri.path(), |target| target.rsplit('.').next().unwrap());
    let upstream = proxy.state.lock().unwrap().upstream.clone();
    // The mailer may use the tables at any time; its requests are not what a test is about.
    let signer = headers.get("authorization").map(|value| value.to_str());
    let is_mailer = signer.is_some_and(|signer| signer.unwrap().contains("Credential=mailer/"));
    let is_mailers = is_mailer && target.is_some();
    let fault = if is_mailers {
        None
    } else {
        proxy.take(operation).or_else(|| proxy.refusal(&headers))
    };
    let answer = |status: u16, fault: Option<Fault>, body: Vec<u8>| {
        let mut builder = Response::builder().status(status);
        builder = builder.header("content-type", "application/json");
        if let Some(kind) = fault.as_ref().and_then(|fault| fault.kind) {
            builder = builder.header("x-amzn-errortype", kind);
        }
        if let Some(date) = fault.and_then(|fault| fault.date) {
            builder = builder.header("date", date);
        }
        builder.body(Body::from(body)).unwrap()
    };
    if let Some(fault) = fault.as_ref().filter(|fault| !fault.is_executed) {
        let body = fault.body.clone().into_bytes();
        return answer(fault.status, Some(fault.clone()), body);
    }
    let url = format!("{upstream}{}", uri.path());
    let mut request = reqwest::Client::new().post(url).body(body.to_vec());
    for name in [
        "x-amz-target",
        "x-amz-date",
        "authorization",
        "content-type",
    ] {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value.to_str().unwrap());
        }
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap().to_vec();
    match fault {
        Some(fault) => answer(fault.status, None, fault.body.into_bytes()),
        None => answer(status, None, bytes),
    }
}

/// The endpoint where AWS hands out credentials that expire, with SnapStart and in containers.
#[derive(Clone)]
pub struct CredentialsEndpoint {
    pub url: String,
    state: Arc<Mutex<Credentials>>,
}

#[derive(Default)]
struct Credentials {
    access_key_id: String,
    session_token: String,
    lifetime: Duration,
    asked: usize,
}

impl CredentialsEndpoint {
    /// The `Authorization` header that a client must send to get credentials.
    pub const AUTHORIZATION: &str = "a token of the environment's own";

    /// Starts an endpoint that hands out credentials with this access key.
    pub async fn start(access_key_id: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Self {
            url: format!("http://{}/credentials", listener.local_addr().unwrap()),
            state: Arc::default(),
        };
        endpoint.state.lock().unwrap().access_key_id = access_key_id.to_owned();
        let router = Router::new()
            .fallback(credentials)
            .with_state(endpoint.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        endpoint
    }

    /// Sets the credentials that it hands out from now on.
    pub fn hand_out(&self, session_token: &str, lifetime: Duration) {
        let mut state = self.state.lock().unwrap();
        state.session_token = session_token.to_owned();
        state.lifetime = lifetime;
    }

    /// Returns how often it was asked.
    pub fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }
}

async fn credentials(
    State(endpoint): State<CredentialsEndpoint>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let authorization = headers.get("authorization");
    if authorization.is_none_or(|given| given != CredentialsEndpoint::AUTHORIZATION) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let mut state = endpoint.state.lock().unwrap();
    state.asked += 1;
    let expiration = OffsetDateTime::now_utc() + state.lifetime;
    Ok(Json(json!({
        "AccessKeyId": state.access_key_id,
        "SecretAccessKey": "local",
        "Token": state.session_token,
        "Expiration": expiration.format(&Rfc3339).unwrap(),
    })))
}
