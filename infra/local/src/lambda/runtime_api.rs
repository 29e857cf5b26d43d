//! Lambda's Runtime API for one process.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use super::{InvokeError, lock};
use crate::identity::{random_hex, request_id};

/// An event for the environment, and the way back for its answer.
pub(super) struct Invocation {
    pub(super) id: String,
    /// The function's ARN with the alias, by which it was invoked.
    pub(super) arn: String,
    pub(super) deadline: SystemTime,
    pub(super) event: Bytes,
    pub(super) reply: oneshot::Sender<Result<Bytes, InvokeError>>,
}

/// The Runtime API of one environment, and the part of the Extensions API that a function needs to receive SIGTERM.
pub(super) struct RuntimeApi {
    invocations: tokio::sync::Mutex<mpsc::Receiver<Invocation>>,
    current: Mutex<Option<Running>>,
    became_ready: watch::Sender<bool>,
}

struct Running {
    id: String,
    reply: oneshot::Sender<Result<Bytes, InvokeError>>,
}

/// Serves the API until the task is aborted.
pub(super) async fn serve(listener: TcpListener, api: Arc<RuntimeApi>) {
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route(
            "/2018-06-01/runtime/invocation/{id}/response",
            post(response),
        )
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .route("/2020-01-01/extension/register", post(register_extension))
        .route(
            "/2020-01-01/extension/event/next",
            get(next_extension_event),
        )
        .with_state(api);
    // It ends with the environment; an error then does not matter.
    let _ = axum::serve(listener, router).await;
}

async fn next(State(api): State<Arc<RuntimeApi>>) -> Result<Response<Body>, StatusCode> {
    api.became_ready.send_replace(true);
    let invocation = api
        .invocations
        .lock()
        .await
        .recv()
        .await
        .ok_or(StatusCode::GONE)?;
    let deadline = invocation
        .deadline
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    let response = Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", &invocation.id)
        .header("lambda-runtime-deadline-ms", deadline.to_string())
        .header("lambda-runtime-invoked-function-arn", &invocation.arn)
        .header("lambda-runtime-trace-id", trace_header())
        .body(Body::from(invocation.event));
    *lock(&api.current) = Some(Running {
        id: invocation.id,
        reply: invocation.reply,
    });
    response.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

async fn response(
    State(api): State<Arc<RuntimeApi>>,
    Path(id): Path<String>,
    body: Bytes,
) -> StatusCode {
    api.finish(&id, Ok(body))
}

async fn error(State(api): State<Arc<RuntimeApi>>, Path(id): Path<String>) -> StatusCode {
    api.finish(&id, Err(InvokeError::Failed))
}

async fn init_error() -> StatusCode {
    StatusCode::ACCEPTED // the process ends after this and has printed the reason on standard error
}

async fn register_extension() -> Response<Body> {
    let mut response = Response::new(Body::from(
        r#"{"functionName":"local","functionVersion":"$LATEST","handler":"bootstrap"}"#,
    ));
    if let Ok(id) = request_id().parse() {
        response
            .headers_mut()
            .insert("lambda-extension-identifier", id);
    }
    response
}

/// Never answers: the extension registered for no events.
async fn next_extension_event() -> StatusCode {
    std::future::pending().await
}

impl RuntimeApi {
    /// Creates an API that hands out these invocations and reports when the process asks for the first one.
    pub(super) fn new(
        invocations: mpsc::Receiver<Invocation>,
        became_ready: watch::Sender<bool>,
    ) -> Self {
        Self {
            invocations: tokio::sync::Mutex::new(invocations),
            current: Mutex::default(),
            became_ready,
        }
    }

    fn finish(&self, id: &str, result: Result<Bytes, InvokeError>) -> StatusCode {
        let mut current = lock(&self.current);
        match current.take() {
            Some(running) if running.id == id => {
                // The caller may have given up.
                let _ = running.reply.send(result);
                StatusCode::ACCEPTED
            }
            other => {
                *current = other;
                StatusCode::BAD_REQUEST
            }
        }
    }
}

/// Returns a new trace for each invocation (AWS X-Ray Developer Guide, "Tracing header").
fn trace_header() -> String {
    let text = random_hex();
    format!(
        "Root=1-{}-{};Parent={};Sampled=0",
        &text[..8],
        &text[8..],
        &random_hex()[..16]
    )
}
