//! HTTP/1.1 connections to one address, kept from one request to the next.

use std::future::poll_fn;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tower_service::Service as _;

/// Idle connections that are kept. After a freeze all of them may be dead: of three tries at a service of AWS, one
/// is on a new one.
const MOST_IDLE: usize = 2;
/// A connection that was idle for longer may be dead without a word, or about to be closed.
const LONGEST_IDLE: Duration = Duration::from_secs(90);

/// A handle: what reads and writes is a task of its own, which ends with the connection.
type Connection = SendRequest<Full<Bytes>>;

/// One for all addresses. The authorities come with the binary: nothing is read from the disk.
static CONNECTOR: LazyLock<HttpsConnector<HttpConnector>> = LazyLock::new(|| {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    HttpsConnectorBuilder::new()
        .with_webpki_roots()
        .https_or_http()
        .enable_http1()
        .wrap_connector(http)
});

/// Connections to one address.
pub(crate) struct Connections {
    address: Uri,
    /// Since when each is idle; the last is the one that was used last.
    idle: Mutex<Vec<(Instant, Connection)>>,
}

const NO_CONNECTION: &str = "no connection";
const NO_VALID_ANSWER: &str = "no valid answer";

impl Connections {
    /// To this address; the first request opens one.
    pub(crate) fn new(address: Uri) -> Self {
        Self {
            address,
            idle: Mutex::default(),
        }
    }

    /// What the request, whose URI is a path alone, is answered; or why it is not, without what was sent.
    pub(crate) async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, &'static str> {
        let (connection, answer) = self.send(request).await?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|_| NO_VALID_ANSWER)?;
        // After a failure of the service's own, the next try may find another host behind the address.
        if !parts.status.is_server_error() {
            self.keep(connection);
        }
        Ok(Response::from_parts(parts, body.to_bytes()))
    }

    /// Over a connection that is kept, else over a new one. One that turns out to be closed before anything
    /// was sent costs nothing.
    async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Connection, Response<Incoming>), &'static str> {
        while let Some(mut kept) = self.take() {
            match kept.try_send_request(request).await {
                Ok(answer) => return Ok((kept, answer)),
                Err(mut error) => request = error.take_message().ok_or(NO_VALID_ANSWER)?,
            }
        }
        // Boxed, so that a request that needs none does not carry what connecting takes.
        let mut new = Box::pin(self.open()).await.ok_or(NO_CONNECTION)?;
        let answer = new.send_request(request).await;
        Ok((new, answer.map_err(|_| NO_VALID_ANSWER)?))
    }

    async fn open(&self) -> Option<Connection> {
        let mut connector = CONNECTOR.clone();
        let ready = poll_fn(|context| connector.poll_ready(context)).await;
        ready.ok()?;
        let stream = connector.call(self.address.clone()).await;
        let (connection, task) = http1::handshake(stream.ok()?).await.ok()?;
        // Why a connection ended, its request is told.
        tokio::spawn(async { drop(task.await) });
        Some(connection)
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle();
        idle.retain(|(since, connection)| since.elapsed() < LONGEST_IDLE && connection.is_ready());
        idle.pop().map(|(_, connection)| connection)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle();
        if idle.len() < MOST_IDLE {
            idle.push((Instant::now(), connection));
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Instant, Connection)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// What a server does with a request. Each answer has the number of its request.
    #[derive(Clone, Copy)]
    pub(crate) enum Answer {
        Status(u16),
        /// 200 with these headers and this body.
        With(&'static str, &'static str),
        /// 200, and the end of the connection.
        Last,
        /// 200, and another one that nobody asked for.
        Twice,
        /// 200 after a while.
        Late,
        /// 200, less of it than it says, and the end of the connection.
        Half,
    }

    /// A server that does this with one request after the other.
    pub(crate) struct Server {
        port: u16,
        opened: Arc<AtomicUsize>,
        requests: Arc<Mutex<Vec<String>>>,
    }

    impl Server {
        pub(crate) async fn start(answers: &[Answer]) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let server = Self {
                port: listener.local_addr().unwrap().port(),
                opened: Arc::default(),
                requests: Arc::default(),
            };
            let mut answers: VecDeque<Answer> = answers.iter().copied().collect();
            let (opened, requests) = (server.opened.clone(), server.requests.clone());
            // One connection after the other: nobody here has two at once.
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    opened.fetch_add(1, Ordering::Relaxed);
                    while let Some(request) = read_request(&mut stream).await {
                        let number = {
                            let mut requests = requests.lock().unwrap();
                            requests.push(request);
                            requests.len()
                        };
                        let answer = answers.pop_front().expect("an answer");
                        // Whoever gave up does not listen.
                        let _ = stream.write_all(answer.text(number).await.as_bytes()).await;
                        if matches!(answer, Answer::Last | Answer::Half) {
                            break;
                        }
                    }
                }
            });
            server
        }

        pub(crate) fn address(&self) -> Uri {
            format!("http://127.0.0.1:{}/", self.port).parse().unwrap()
        }

        pub(crate) fn asked(&self) -> usize {
            self.requests().len()
        }

        /// What it was asked, as it was sent.
        pub(crate) fn requests(&self) -> Vec<String> {
            self.requests.lock().unwrap().clone()
        }

        pub(crate) fn opened(&self) -> usize {
            self.opened.load(Ordering::Relaxed)
        }
    }

    impl Answer {
        async fn text(self, number: usize) -> String {
            let text = |status, length, number| {
                format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{number}")
            };
            match self {
                Self::With(headers, body) => {
                    let length = body.len();
                    format!("HTTP/1.1 200 x\r\n{headers}content-length: {length}\r\n\r\n{body}")
                }
                Self::Status(204) => "HTTP/1.1 204 x\r\n\r\n".to_owned(),
                Self::Status(status) => text(status, 1, number),
                Self::Last => text(200, 1, number),
                Self::Twice => text(200, 1, number) + &text(200, 1, 0),
                Self::Late => {
                    tokio::time::sleep(3 * SOON).await;
                    text(200, 1, number)
                }
                Self::Half => text(200, 2, number),
            }
        }
    }

    const SOON: Duration = Duration::from_millis(50);

    async fn read_request(stream: &mut TcpStream) -> Option<String> {
        let mut request = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&request);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.split_once("content-length: ");
                let length = length.and_then(|(_, rest)| rest.lines().next());
                if body.len() == length.map_or(0, |length| length.parse().unwrap()) {
                    return Some(text.into_owned());
                }
            }
            if !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
                return None;
            }
        }
    }

    fn request() -> Request<Full<Bytes>> {
        let request = Request::post("/").header("host", "127.0.0.1");
        request.body(Full::new(Bytes::new())).unwrap()
    }

    /// The status, and which request was answered.
    async fn ask(connections: &Connections) -> Result<(u16, usize), &'static str> {
        let answer = connections.exchange(request()).await?;
        let number = std::str::from_utf8(answer.body()).unwrap();
        Ok((answer.status().as_u16(), number.parse().unwrap()))
    }

    /// How many connections as many requests need that are answered so.
    async fn opened_for(statuses: [u16; 3]) -> usize {
        let server = Server::start(&statuses.map(Answer::Status)).await;
        let connections = Connections::new(server.address());
        for (status, number) in statuses.into_iter().zip(1..) {
            assert_eq!(ask(&connections).await, Ok((status, number)));
        }
        server.opened()
    }

    #[tokio::test]
    async fn a_connection_is_kept_from_one_request_to_the_next() {
        assert_eq!(opened_for([200, 400, 200]).await, 1);
    }

    #[tokio::test]
    async fn one_that_answered_with_a_failure_of_the_servers_own_is_not_used_again() {
        assert_eq!(opened_for([500, 503, 200]).await, 3);
    }

    #[tokio::test]
    async fn one_that_was_closed_meanwhile_is_replaced_without_a_failure() {
        let server = Server::start(&[Answer::Last, Answer::Status(200)]).await;
        let connections = Connections::new(server.address());

        assert_eq!(ask(&connections).await, Ok((200, 1)));
        while !connections.idle()[0].1.is_closed() {
            tokio::task::yield_now().await;
        }
        assert_eq!(ask(&connections).await, Ok((200, 2)));

        assert_eq!(server.opened(), 2);
    }

    #[tokio::test]
    async fn one_that_was_idle_for_too_long_is_not_used_again() {
        let server = Server::start(&[200, 200].map(Answer::Status)).await;
        let connections = Connections::new(server.address());

        for _ in 0..2 {
            ask(&connections).await.unwrap();
            connections.idle()[0].0 -= LONGEST_IDLE;
        }

        assert_eq!(server.opened(), 2);
    }

    #[tokio::test]
    async fn nobody_gets_the_answer_to_another_request() {
        let server = Server::start(&[
            Answer::Late,
            Answer::Twice,
            Answer::Status(200),
            Answer::Half,
            Answer::Status(200),
        ])
        .await;
        let connections = Connections::new(server.address());

        let given_up = tokio::time::timeout(SOON, ask(&connections)).await;
        assert!(given_up.is_err());
        assert_eq!(ask(&connections).await, Ok((200, 2)));
        assert_eq!(ask(&connections).await, Ok((200, 3)), "not the second one");
        assert_eq!(ask(&connections).await, Err(NO_VALID_ANSWER));
        assert_eq!(ask(&connections).await, Ok((200, 5)));
    }
}
