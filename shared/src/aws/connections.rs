//! HTTP/1.1 connections to one address, kept from one request to the next.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tower_service::Service as _;

/// Idle connections that are kept. After a freeze all of them may be dead: of three tries, one is on a new one.
const MOST_IDLE: usize = 2;
/// A connection that was idle for longer may be dead without a word, or about to be closed.
const LONGEST_IDLE: Duration = Duration::from_secs(90);

/// A handle: what reads and writes is a task of its own, which ends with the connection.
type Connection = SendRequest<Full<Bytes>>;

/// Connections to one address.
pub(super) struct Connections {
    connector: HttpsConnector<HttpConnector>,
    address: Uri,
    /// Since when each is idle; the last is the one that was used last.
    idle: Mutex<Vec<(Instant, Connection)>>,
}

/// Why there is no answer.
type NoAnswer = &'static str;

const NO_VALID_ANSWER: NoAnswer = "no valid answer";

impl Connections {
    /// To this address; the first request opens one.
    pub(super) fn new(address: Uri) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        // The authorities come with the binary: nothing is read from the disk.
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Self {
            connector,
            address,
            idle: Mutex::default(),
        }
    }

    /// What the request, whose URI is a path alone, is answered.
    pub(super) async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, NoAnswer> {
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
    ) -> Result<(Connection, Response<Incoming>), NoAnswer> {
        while let Some(mut kept) = self.take() {
            if kept.ready().await.is_err() {
                continue;
            }
            match kept.try_send_request(request).await {
                Ok(answer) => return Ok((kept, answer)),
                Err(mut error) => request = error.take_message().ok_or(NO_VALID_ANSWER)?,
            }
        }
        let mut new = self.open().await.ok_or("no connection")?;
        let answer = new.send_request(request).await;
        Ok((new, answer.map_err(|_| NO_VALID_ANSWER)?))
    }

    async fn open(&self) -> Option<Connection> {
        let stream = self.connector.clone().call(self.address.clone()).await;
        let (connection, task) = http1::handshake(stream.ok()?).await.ok()?;
        // Why a connection ended, its request is told.
        tokio::spawn(async { drop(task.await) });
        Some(connection)
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle();
        idle.retain(|(since, _)| since.elapsed() < LONGEST_IDLE);
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
pub(super) mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A server with one answer for each request; after the answer `close`, it closes the connection.
    pub(in super::super) struct Server {
        port: u16,
        opened: Arc<AtomicUsize>,
        asked: Arc<AtomicUsize>,
    }

    impl Server {
        pub(in super::super) async fn start(answers: &[&'static str]) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let server = Self {
                port: listener.local_addr().unwrap().port(),
                opened: Arc::default(),
                asked: Arc::default(),
            };
            let mut answers: VecDeque<&str> = answers.iter().copied().collect();
            let (opened, asked) = (server.opened.clone(), server.asked.clone());
            // One connection after the other: nobody here has two at once.
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    opened.fetch_add(1, Ordering::Relaxed);
                    while read_request(&mut stream).await {
                        asked.fetch_add(1, Ordering::Relaxed);
                        let answer = answers.pop_front().expect("an answer");
                        let status = if answer == "close" { "200" } else { answer };
                        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: 2\r\n\r\n{{}}");
                        stream.write_all(head.as_bytes()).await.unwrap();
                        if answer == "close" {
                            break;
                        }
                    }
                }
            });
            server
        }

        pub(in super::super) fn address(&self) -> Uri {
            format!("http://127.0.0.1:{}/", self.port).parse().unwrap()
        }

        pub(in super::super) fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }

        fn opened(&self) -> usize {
            self.opened.load(Ordering::Relaxed)
        }
    }

    /// One without a body.
    async fn read_request(stream: &mut TcpStream) -> bool {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
                return false;
            }
        }
        true
    }

    fn request() -> Request<Full<Bytes>> {
        let request = Request::post("/").header("host", "127.0.0.1");
        request.body(Full::new(Bytes::new())).unwrap()
    }

    #[tokio::test]
    async fn a_connection_is_kept_from_one_request_to_the_next() {
        let server = Server::start(&["200", "400", "200"]).await;
        let connections = Connections::new(server.address());

        for status in [200, 400, 200] {
            let answer = connections.exchange(request()).await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), &answer.body()[..]),
                (status, &b"{}"[..])
            );
        }

        assert_eq!(server.opened(), 1);
    }

    #[tokio::test]
    async fn one_that_was_closed_meanwhile_is_replaced_without_a_failure() {
        let server = Server::start(&["close", "close", "200"]).await;
        let connections = Connections::new(server.address());

        for _ in 0..3 {
            connections.exchange(request()).await.unwrap();
            let is_known = || connections.idle()[0].1.is_closed();
            while server.opened() < 3 && !is_known() {
                tokio::task::yield_now().await;
            }
        }

        assert_eq!(server.opened(), 3);
    }

    #[tokio::test]
    async fn one_that_answered_with_a_failure_of_the_servers_own_is_not_used_again() {
        let server = Server::start(&["500", "503", "200"]).await;
        let connections = Connections::new(server.address());

        for _ in 0..3 {
            connections.exchange(request()).await.unwrap();
        }

        assert_eq!(server.opened(), 3);
    }

    #[tokio::test]
    async fn one_that_was_idle_for_too_long_is_not_used_again() {
        let server = Server::start(&["200", "200"]).await;
        let connections = Connections::new(server.address());

        for _ in 0..2 {
            connections.exchange(request()).await.unwrap();
            connections.idle()[0].0 -= LONGEST_IDLE;
        }

        assert_eq!(server.opened(), 2);
    }
}
