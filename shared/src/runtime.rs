//! The loop of every function: events in, answers out, until SIGTERM. It asks Lambda's Runtime API itself,
//! twice an event (AWS Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes"): with AWS'
//! own crate, a profile takes a seventh more CPU (README, "How fast it is"), and it is not known when an answer
//! has been handed over, which a function has to know before it ends.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONTENT_TYPE, HOST, HeaderName};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use serde::{Serialize, de::DeserializeOwned};
use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::config::StartError;
use crate::connections::Connections;
use crate::{json, telemetry};

/// Where the API is: `<host>:<port>`, or a URL, as `cargo lambda watch` has it.
const ADDRESS: &str = "AWS_LAMBDA_RUNTIME_API";
const INVOCATION: &str = "/2018-06-01/runtime/invocation";
const EXTENSION: &str = "/2020-01-01/extension";

/// Setting a timer that is due before all others costs tokio a system call and a turn of its loop, because it
/// wakes itself, and each time-out of a request is one. One that is due before those, and outlives the
/// request, spares them to the requests that soon follow: so long.
const KEPT_TIMER: Duration = Duration::from_millis(300);

/// Bytes that most answers have room in.
const USUAL_ANSWER: usize = 2048;

const REQUEST_ID: HeaderName = HeaderName::from_static("lambda-runtime-aws-request-id");
/// Not always there; goes back with the answer.
const INVOCATION_ID: HeaderName = HeaderName::from_static("lambda-runtime-invocation-id");
const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");
const EXTENSION_NAME: HeaderName = HeaderName::from_static("lambda-extension-name");
const EXTENSION_ID: HeaderName = HeaderName::from_static("lambda-extension-identifier");

/// Runs a function: what it says of itself is said under its name.
///
/// # Errors
/// Those of `function`, and its panics; where the system has nothing to wait for events with.
pub fn start(
    name: &str,
    function: impl Future<Output = Result<(), StartError>> + 'static,
) -> Result<(), StartError> {
    telemetry::init(name);
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default());
    let runtime = runtime.map_err(StartError::new)?;
    // A task of its own: whenever a connection's task has something for the future that a runtime blocks on, it looks
    // for events with a system call first.
    let ended = runtime.block_on(runtime.spawn_local(function));
    // The panic hook has logged where; what a panic says may be a value.
    ended.map_err(|_| StartError::ended("a panic"))?
}

/// Hands events to the handler, one at a time, as Lambda sends them, until SIGTERM arrives; the event in hand
/// is answered first.
///
/// # Errors
/// Where Lambda cannot be found or reached, or says that it has failed itself. An error of the handler, or a
/// panic, fails the invocation alone; an error's text is logged.
pub async fn run<E, A, H, F>(handler: H) -> Result<(), StartError>
where
    E: DeserializeOwned,
    A: Serialize,
    H: Fn(E) -> F,
    F: Future<Output = Result<A, String>>,
{
    let address = std::env::var(ADDRESS);
    let address = address.map_err(|_| StartError::new(format!("{ADDRESS} is missing")))?;
    let terminate = signal(SignalKind::terminate()).map_err(StartError::new)?;
    RuntimeApi::at(&address)?.register_for_sigterm().await;
    let answer = async |event| handle(event, &handler).await;
    RuntimeApi::at(&address)?.serve(answer, terminate).await
}

/// Lambda, as a function sees it.
struct RuntimeApi {
    connections: Connections,
    host: HeaderValue,
    /// What all paths begin with.
    prefix: String,
}

/// What an answer is the answer to.
struct Invocation {
    request_id: HeaderValue,
    id: Option<HeaderValue>,
}

/// Why an event has no answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    error_type: &'static str,
    error_message: String,
}

impl RuntimeApi {
    fn at(address: &str) -> Result<Self, StartError> {
        let is_none = || StartError::new(format!("{ADDRESS} is no address"));
        let address = address.strip_prefix("http://").unwrap_or(address);
        let address: Uri = format!("http://{address}").parse().map_err(|_| is_none())?;
        let host = address.authority().map(|authority| authority.as_str());
        let host = host.and_then(|host| HeaderValue::from_str(host).ok());
        Ok(Self {
            host: host.ok_or_else(is_none)?,
            prefix: address.path().trim_end_matches('/').to_owned(),
            connections: Connections::new(address),
        })
    }

    async fn serve(
        &self,
        answer: impl AsyncFn(Bytes) -> Result<Vec<u8>, Failure>,
        mut terminate: Signal,
    ) -> Result<(), StartError> {
        let mut timer = pin!(sleep_until(Instant::now()));
        loop {
            let next = tokio::select! {
                biased; // an event that is here is answered
                next = self.next() => next?,
                _ = terminate.recv() => break,
            };
            let Some((invocation, event)) = next else {
                continue;
            };
            let now = Instant::now();
            if timer.deadline() <= now {
                timer.as_mut().reset(now + KEPT_TIMER);
            }
            let result = answer(event).await;
            telemetry::flush();
            self.hand_over(invocation, result).await?;
        }
        tracing::info!("stopped by SIGTERM");
        Ok(())
    }

    /// Waits for an event, however long. `cargo lambda watch` gives none now and then.
    async fn next(&self) -> Result<Option<(Invocation, Bytes)>, StartError> {
        let path = [INVOCATION, "/next"];
        let answer = self.ask(Method::GET, &path, [], Bytes::new()).await?;
        let (parts, event) = answer.into_parts();
        let header = |name: HeaderName| parts.headers.get(name).cloned();
        if parts.status == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let request_id = header(REQUEST_ID).ok_or_else(|| has_failed(parts.status))?;
        let id = header(INVOCATION_ID);
        Ok(Some((Invocation { request_id, id }, event)))
    }

    /// What became of the event.
    async fn hand_over(
        &self,
        invocation: Invocation,
        result: Result<Vec<u8>, Failure>,
    ) -> Result<(), StartError> {
        let request_id = invocation.request_id.to_str().map_err(StartError::ended)?;
        let (what, error_type, body) = match result {
            Ok(answer) => ("response", None, answer),
            Err(failure) => {
                let (kind, cause) = (failure.error_type, &failure.error_message);
                tracing::error!(request_id, kind, cause, "the invocation has failed");
                let body = json::write(&failure).into_bytes();
                ("error", Some(HeaderValue::from_static(kind)), body)
            }
        };
        let path = [INVOCATION, "/", request_id, "/", what];
        let id = invocation.id.map(|id| (INVOCATION_ID, id));
        let headers = id
            .into_iter()
            .chain(error_type.map(|kind| (ERROR_TYPE, kind)));
        let answer = self.ask(Method::POST, &path, headers, body.into()).await?;
        let status = answer.status();
        if status.is_server_error() {
            // After this, a runtime has to end.
            let status = status.as_u16();
            return Err(StartError::ended(format!("Lambda answers {status}")));
        }
        if !status.is_success() {
            // It came too late, or is too long. The next one may not.
            let status = status.as_u16();
            tracing::error!(request_id, status, "Lambda does not take the answer");
        }
        Ok(())
    }

    /// Lambda sends SIGTERM only to functions with an extension: this registers one without events.
    async fn register_for_sigterm(self) {
        let path = [EXTENSION, "/register"];
        let name = [(
            EXTENSION_NAME,
            HeaderValue::from_static("gatehouse-sigterm"),
        )];
        let body = Bytes::from_static(br#"{"events":[]}"#);
        let registered = self.ask(Method::POST, &path, name, body).await;
        let id = registered
            .ok()
            .and_then(|answer| answer.headers().get(EXTENSION_ID).cloned());
        let Some(id) = id else {
            tracing::warn!("no SIGTERM before the end: this runtime knows no extensions");
            return;
        };
        // Never answered while the function lives; it must be waited for all the same, or Lambda
        // takes the extension for one that is still starting.
        tokio::spawn(async move {
            let path = [EXTENSION, "/event/next"];
            let id = [(EXTENSION_ID, id)];
            drop(self.ask(Method::GET, &path, id, Bytes::new()).await);
        });
    }

    async fn ask(
        &self,
        method: Method,
        path: &[&str],
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
        body: Bytes,
    ) -> Result<Response<Bytes>, StartError> {
        let path = [&[self.prefix.as_str()], path].concat().concat();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = Uri::try_from(path).map_err(StartError::ended)?;
        let sent = request.headers_mut();
        sent.insert(HOST, self.host.clone());
        sent.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        sent.extend(headers);
        let failed = |cause| StartError::ended(format!("Lambda: {cause}"));
        self.connections.exchange(request).await.map_err(failed)
    }
}

/// What the handler answers, as JSON.
async fn handle<E, A, H, F>(event: Bytes, handler: &H) -> Result<Vec<u8>, Failure>
where
    E: DeserializeOwned,
    A: Serialize,
    H: Fn(E) -> F,
    F: Future<Output = Result<A, String>>,
{
    let failure = |error_type, error_message| Failure {
        error_type,
        error_message,
    };
    // Without serde's own words, which may quote the event.
    let unreadable = "no event that is known here".to_owned();
    let parsed = json::read(&event);
    let parsed = parsed.ok_or_else(|| failure("Runtime.UnreadableEvent", unreadable))?;
    drop(event); // or the connection reads into a new buffer
    let handled = AssertUnwindSafe(async { handler(parsed).await }).catch_unwind();
    match handled.await {
        Ok(Ok(answer)) => {
            let mut json = Vec::with_capacity(USUAL_ANSWER);
            match serde_json::to_writer(&mut json, &answer) {
                Ok(()) => Ok(json),
                Err(error) => Err(failure("Runtime.UnwritableAnswer", error.to_string())),
            }
        }
        Ok(Err(message)) => Err(failure("Function.Failed", message)),
        // The panic hook has logged where.
        Err(_) => Err(failure(
            "Function.Panicked",
            "the handler panicked".to_owned(),
        )),
    }
}

fn has_failed(status: StatusCode) -> StartError {
    let status = status.as_u16();
    StartError::ended(format!("Lambda answers {status}, without an event"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::tests::{Answer, Server};

    const EVENT: &str = "lambda-runtime-aws-request-id: 8476a536\r\n";

    /// Twice a number, if it is an even one.
    async fn double(number: u32) -> Result<u32, String> {
        assert!(number < 100, "out of reach");
        match number % 2 {
            0 => Ok(2 * number),
            _ => Err(format!("{number} is odd")),
        }
    }

    /// What a function says that Lambda gives these answers, over one connection, the last of which ends it,
    /// and how it ends. Of its requests, the lines that matter.
    async fn run(answers: &[Answer]) -> (Vec<Vec<String>>, String) {
        let server = Server::start(answers).await;
        let api = RuntimeApi::at(server.address().authority().unwrap().as_str()).unwrap();
        let terminate = signal(SignalKind::terminate()).unwrap();
        let answer = async |event| handle(event, &double).await;

        let end = api.serve(answer, terminate).await.unwrap_err();

        assert_eq!(server.opened(), 1);
        (lines(&server), end.to_string())
    }

    fn lines(server: &Server) -> Vec<Vec<String>> {
        let always = ["host: ", "content-type: ", "content-length: "];
        let matters =
            |line: &&str| !line.is_empty() && !always.iter().any(|header| line.starts_with(header));
        let lines = |request: &String| {
            let lines = request.lines().filter(matters);
            lines.map(str::to_owned).collect()
        };
        server.requests().iter().map(lines).collect()
    }

    const NEXT: &str = "GET /2018-06-01/runtime/invocation/next HTTP/1.1";
    const RESPONSE: &str = "POST /2018-06-01/runtime/invocation/8476a536/response HTTP/1.1";
    const ERROR: &str = "POST /2018-06-01/runtime/invocation/8476a536/error HTTP/1.1";

    #[tokio::test]
    async fn one_event_after_the_other_is_answered() {
        let with_id =
            "lambda-runtime-aws-request-id: 8476a536\r\nlambda-runtime-invocation-id: 7\r\n";
        let (requests, _) = run(&[
            Answer::With(EVENT, "4"),
            Answer::Status(202),
            Answer::With(with_id, "6"),
            Answer::Status(202),
            Answer::Status(500),
        ])
        .await;

        let id = "lambda-runtime-invocation-id: 7";
        assert_eq!(
            requests,
            [
                vec![NEXT],
                vec![RESPONSE, "8"],
                vec![NEXT],
                vec![RESPONSE, id, "12"],
                vec![NEXT]
            ]
        );
    }

    #[tokio::test]
    async fn an_event_that_cannot_be_answered_costs_its_own_invocation_alone() {
        for (event, error_type, message) in [
            ("3", "Function.Failed", "3 is odd"),
            ("100", "Function.Panicked", "the handler panicked"),
            (
                "[\"secret\"]",
                "Runtime.UnreadableEvent",
                "no event that is known here",
            ),
        ] {
            let (requests, _) = run(&[
                Answer::With(EVENT, event),
                Answer::Status(202),
                Answer::With(EVENT, "4"),
                Answer::Status(202),
                Answer::Status(500),
            ])
            .await;

            let header = format!("lambda-runtime-function-error-type: {error_type}");
            let body = format!(r#"{{"errorType":"{error_type}","errorMessage":"{message}"}}"#);
            assert_eq!(requests[1], [ERROR, &header, &body], "{event}");
            assert_eq!(requests[3], [RESPONSE, "8"], "{event}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_lambda_does_not_take_ends_nothing_but_a_failure_of_its_own_does() {
        let event = Answer::With(EVENT, "4");
        for (statuses, number, end) in [
            (&[413, 400][..], 5, "Lambda answers 403, without an event"),
            (&[500], 2, "Lambda answers 500"),
        ] {
            let mut answers = Vec::new();
            for status in statuses {
                answers.extend([event, Answer::Status(*status)]);
            }
            answers.push(Answer::Status(403));

            let (requests, why) = run(&answers).await;

            assert_eq!(requests.len(), number, "{statuses:?}");
            assert!(why.ends_with(end), "{why}");
        }
    }

    #[tokio::test]
    async fn without_an_event_there_is_nothing_to_wait_for() {
        for (answer, end) in [
            (Answer::Status(403), "Lambda answers 403, without an event"),
            (
                Answer::With("", "4"),
                "Lambda answers 200, without an event",
            ),
            (Answer::Half, "Lambda: no valid answer"),
        ] {
            let (requests, why) = run(&[answer]).await;

            assert_eq!(requests, [[NEXT]]);
            assert!(why.ends_with(end), "{why}");
        }
    }

    #[tokio::test]
    async fn no_event_for_now_is_not_the_end() {
        let (requests, _) = run(&[Answer::Status(204), Answer::Status(500)]).await;

        assert_eq!(requests, [[NEXT], [NEXT]]);
    }

    #[tokio::test]
    async fn sigterm_is_asked_for() {
        let id = Answer::With("lambda-extension-identifier: 5d4\r\n", "{}");
        let server = Server::start(&[id, Answer::Status(500)]).await;
        let address = format!("{}.rt/register/", server.address());

        RuntimeApi::at(&address)
            .unwrap()
            .register_for_sigterm()
            .await;
        let asked = async {
            while server.asked() < 2 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), asked)
            .await
            .expect("two requests");

        let register = "POST /.rt/register/2020-01-01/extension/register HTTP/1.1";
        let next = "GET /.rt/register/2020-01-01/extension/event/next HTTP/1.1";
        assert_eq!(
            lines(&server),
            [
                [
                    register,
                    "lambda-extension-name: gatehouse-sigterm",
                    r#"{"events":[]}"#
                ]
                .as_slice(),
                &[next, "lambda-extension-identifier: 5d4"]
            ]
        );
    }

    #[test]
    fn addresses_by_example() {
        for (address, host, prefix) in [
            ("127.0.0.1:9001", "127.0.0.1:9001", ""),
            (
                "http://127.0.0.1:9000/.rt/login",
                "127.0.0.1:9000",
                "/.rt/login",
            ),
        ] {
            let api = RuntimeApi::at(address).unwrap();

            assert_eq!((api.host.to_str().unwrap(), &*api.prefix), (host, prefix));
        }
        for address in ["", "no address", "\n"] {
            assert!(RuntimeApi::at(address).is_err(), "{address:?}");
        }
    }
}
