//! Counts sequential round trips: proxies for Redis and DynamoDB hold back every answer until no further request
//! arrives. Requests that arrive until then were sent together and count as one round trip.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::peers::address;

/// After this time without traffic, no further request is expected.
const QUIET: Duration = Duration::from_millis(120);

/// Two proxies with one counter.
pub struct RoundTrips {
    pub redis: String,
    pub dynamodb: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    traffic: Mutex<Traffic>,
    /// Held answers wait until this number changes.
    release: watch::Sender<u64>,
    upstreams: Mutex<[String; 2]>,
}

#[derive(Default)]
struct Traffic {
    is_counting: bool,
    /// The number of connections with an unanswered request.
    unanswered: usize,
    held: usize,
    last_word: Option<Instant>,
    counted: usize,
}

impl RoundTrips {
    pub async fn start() -> Self {
        let state = Arc::<State>::default();
        let [redis, dynamodb] = [listen(0, &state).await, listen(1, &state).await];
        tokio::spawn(release(state.clone()));
        Self {
            redis,
            dynamodb,
            state,
        }
    }

    /// Sets the upstreams, both as URLs.
    pub fn set_upstreams(&self, redis: &str, dynamodb: &str) {
        let upstreams = [redis, dynamodb].map(|url| address(url).to_owned());
        *self.state.upstreams.lock().unwrap() = upstreams;
    }

    /// Returns how many round trips this work takes, and its result.
    pub async fn of<T>(&self, work: impl Future<Output = T>) -> (usize, T) {
        *self.state.traffic() = Traffic {
            is_counting: true,
            ..Traffic::default()
        };
        let result = work.await;
        let mut traffic = self.state.traffic();
        traffic.is_counting = false;
        (traffic.counted, result)
    }
}

impl State {
    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap()
    }
}

async fn listen(upstream: usize, state: &Arc<State>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let state = state.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let address = state.upstreams.lock().unwrap()[upstream].clone();
            let Ok(server) = TcpStream::connect(address).await else {
                continue;
            };
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            let unanswered = Arc::default();
            tokio::spawn(ask(
                from_client,
                to_server,
                state.clone(),
                Arc::clone(&unanswered),
            ));
            tokio::spawn(answer(from_server, to_client, state.clone(), unanswered));
        }
    });
    address
}

/// Whether the last request on a connection is unanswered; `None` if no counted request was made on it.
type Unanswered = Arc<Mutex<Option<bool>>>;

async fn ask(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: Arc<State>,
    unanswered: Unanswered,
) {
    let mut bytes = [0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        // The mailer may use the tables at any time, so its requests do not count.
        let text = String::from_utf8_lossy(&bytes[..length]);
        if !text.contains("Credential=mailer/") {
            let mut traffic = state.traffic();
            if traffic.is_counting {
                traffic.last_word = Some(Instant::now());
                let before = unanswered.lock().unwrap().replace(true);
                traffic.unanswered += usize::from(before != Some(true));
            }
        }
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: Arc<State>,
    unanswered: Unanswered,
) {
    let mut bytes = [0; 64 * 1024];
    let mut released = state.release.subscribe();
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let is_held = {
            let mut traffic = state.traffic();
            let mut unanswered = unanswered.lock().unwrap();
            let is_held = traffic.is_counting && unanswered.is_some();
            if is_held {
                traffic.unanswered -= usize::from(unanswered.replace(false) == Some(true));
                traffic.held += 1;
                traffic.last_word = Some(Instant::now());
                released.mark_unchanged();
            }
            is_held
        };
        if is_held && released.changed().await.is_err() {
            return;
        }
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

/// Releases the held answers when every request is answered and no further one arrives.
async fn release(state: Arc<State>) {
    loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let mut traffic = state.traffic();
        let is_quiet = traffic.last_word.is_some_and(|at| at.elapsed() > QUIET);
        if traffic.held > 0 && traffic.unanswered == 0 && is_quiet {
            traffic.held = 0;
            traffic.counted += 1;
            state.release.send_modify(|number| *number += 1);
        }
    }
}
