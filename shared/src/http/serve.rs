//! The way of every request: event in, answer out, whatever happens in between.

use std::any::Any;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use lambda_http::{Adapter, RequestExt};
use lambda_runtime::Runtime;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::set_header::response::SetMultipleResponseHeadersLayer;
use tower_http::timeout::TimeoutLayer;
use tracing::Instrument;

use super::gateway::{self, GatewayRequestId};
use super::guard::{Guard, Tally};
use super::response::{Answer, LimitedBy, Outcome, failure, fixed_headers, set_rate_limit};
use super::{Request, Response};
use crate::config::StartError;
use crate::error::ApiError;
use crate::{lambda, telemetry};

/// A client is told within two seconds; stores that are slow one after the other must not add up.
const DEADLINE: Duration = Duration::from_millis(1800);

/// Serves the requests that the guard admits, until SIGTERM arrives. A handler that fails or panics costs its own
/// request a 5xx and no other.
///
/// # Errors
/// Those of [`lambda::run`].
pub async fn serve<H, F>(guard: &Guard, handler: H) -> Result<(), StartError>
where
    H: Fn(Request) -> F + Sync,
    F: Future<Output = Result<Response, ApiError>> + Send,
{
    guard.start().await;
    run(Some(guard), handler).await
}

/// Serves whoever asks, without a limit: for answers that cost less than to count them.
///
/// # Errors
/// Those of [`lambda::run`].
pub async fn serve_unguarded<H, F>(handler: H) -> Result<(), StartError>
where
    H: Fn(Request) -> F + Sync,
    F: Future<Output = Result<Response, ApiError>> + Send,
{
    run(None, handler).await
}

async fn run<H, F>(guard: Option<&Guard>, handler: H) -> Result<(), StartError>
where
    H: Fn(Request) -> F + Sync,
    F: Future<Output = Result<Response, ApiError>> + Send,
{
    let (handler, is_cold) = (&handler, &AtomicBool::new(true));
    let endpoint = ServiceBuilder::new()
        .layer(CatchPanicLayer::custom(panicked))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            DEADLINE,
        ))
        .service_fn(move |request| answer(guard, handler, request));
    let service = ServiceBuilder::new()
        .map_request(gateway::sanitize)
        .layer_fn(Adapter::from)
        .layer(SetRequestIdLayer::x_request_id(GatewayRequestId))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetMultipleResponseHeadersLayer::if_not_present(
            fixed_headers(),
        ))
        .service_fn(move |request| observe(request, endpoint, is_cold));
    lambda::run(Runtime::new(service)).await
}

/// The answer of a handler, or of whatever keeps the request from it.
async fn answer<H, F>(
    guard: Option<&Guard>,
    handler: &H,
    request: lambda_http::Request,
) -> Result<Answer, Infallible>
where
    H: Fn(Request) -> F,
    F: Future<Output = Result<Response, ApiError>>,
{
    let id = request_id(&request);
    let handled = async {
        let mut request = Request::new(request).ok_or(ApiError::NotFound)?;
        if let Some(guard) = guard {
            guard.admit(&mut request).await?;
        }
        let tally = request.tally().clone();
        let result = handler(request).await;
        tally.pay(&id).await?; // a request that was refused before it asked the stores
        result
    };
    Ok(match handled.await {
        Ok(response) => response.into_answer(),
        Err(error) => failed(&error, &id),
    })
}

/// Has the request answered, and writes what became of it into the log.
async fn observe<S, B>(
    mut request: lambda_http::Request,
    endpoint: S,
    is_cold: &AtomicBool,
) -> Result<http::Response<UnsyncBoxBody<Bytes, BoxError>>, Infallible>
where
    S: Service<lambda_http::Request, Response = http::Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    let started = Instant::now();
    let id = request_id(&request);
    let route = gateway::context(&request).and_then(|context| context.route_key.as_deref());
    let span = telemetry::span(&id, route, request.lambda_context_ref());
    let tally = Tally::default();
    request.extensions_mut().insert(tally.clone());
    let observed = async {
        let cold_start = is_cold.swap(false, Ordering::Relaxed);
        if cold_start {
            telemetry::count("ColdStarts", &[]);
        }
        let Ok(answer) = endpoint.oneshot(request).await;
        let mut answer = match Outcome::of(&answer) {
            Some(_) => answer.map(UnsyncBoxBody::new),
            None => failed(&by_a_layer(answer.status()), &id).map(in_a_box),
        };
        if let Some(quota) = tally.tightest() {
            set_rate_limit(answer.headers_mut(), &quota);
        }
        tracing::info!(
            outcome = Outcome::of(&answer).unwrap_or_default(),
            status = answer.status().as_u16(),
            limit = LimitedBy::of(&answer),
            duration_ms = started.elapsed().as_secs_f64() * 1000.0,
            cold_start,
            "request"
        );
        telemetry::flush();
        answer
    };
    Ok(observed.instrument(span).await)
}

fn request_id(request: &lambda_http::Request) -> String {
    let id = request.extensions().get::<RequestId>();
    let id = id.and_then(|id| id.header_value().to_str().ok());
    id.unwrap_or_default().to_owned()
}

fn failed(error: &ApiError, request_id: &str) -> Answer {
    if let Some(cause) = error.cause() {
        tracing::error!(cause = %cause, "failed");
    }
    failure(error, request_id)
}

/// What an answer of the layers above the handler means.
fn by_a_layer(status: StatusCode) -> ApiError {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => ApiError::ServiceUnavailable("no answer in time".into()),
        _ => ApiError::Internal("the handler panicked".into()),
    }
}

/// The panic hook has logged where; the message may quote a value, so it is dropped.
fn panicked(_: Box<dyn Any + Send>) -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    answer
}

fn in_a_box(body: String) -> UnsyncBoxBody<Bytes, BoxError> {
    UnsyncBoxBody::new(body.map_err(|never| match never {}))
}
