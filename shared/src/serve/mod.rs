//! Serves HTTP requests, in one of three ways: to everybody ([`serve_public`]), to signed-in users
//! ([`serve_authenticated`]), or to clients with a session's token ([`serve_session`]). A request passes [`lambda`] →
//! this module → guard → handler → answer; whatever fails on the way, the client gets an answer.

use std::any::Any;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use lambda_http::{Adapter, RequestExt};
use lambda_runtime::Runtime;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::set_header::response::SetMultipleResponseHeadersLayer;
use tower_http::timeout::TimeoutLayer;
use tracing::Instrument;

use crate::auth::authentication::Caller;
use crate::config::StartError;
use crate::error::ApiError;
use crate::http::gateway::{self, GatewayRequestId};
use crate::http::response::{Answer, LimitedBy, Outcome, failure, fixed_headers, set_rate_limit};
use crate::http::{Request, Response};
use crate::telemetry;

mod bot_protection;
mod bots;
mod client_identity;
mod guard;
pub mod lambda;
mod rate_limits;

use guard::Checked;
pub use guard::{
    AccessTokenGuard, AuthenticatedGuard, Guard, PublicGuard, RefreshTokenGuard, Tokens,
};
use rate_limits::Charge;
pub use rate_limits::{Endpoint, PendingLimits, RequestLimits};

/// The client gets an answer within two seconds, even if several stores are slow one after the other.
pub const DEADLINE: Duration = Duration::from_millis(1800);

/// Serves everybody. The handler gets requests that were charged under their limits.
///
/// # Errors
/// Those of [`lambda::run`].
pub async fn serve_public<T, H, F>(guard: &Guard<T>, handler: H) -> Result<(), StartError>
where
    T: Tokens + Sync,
    T::Presented: Send,
    H: Fn(Request, RequestLimits) -> F + Sync,
    F: Future<Output = Result<Response, ApiError>> + Send,
{
    let handler = &handler;
    guard.connect_early().await;
    run(|request| {
        handle(guard.check(request), async move |checked: Checked<_>| {
            checked.charge.charge().await?;
            handler(checked.request, RequestLimits(checked.charge)).await
        })
    })
    .await
}

/// Serves signed-in users. The handler gets the [`Caller`]. The limits, the session and the user's record are requested
/// in parallel, which saves round trips.
///
/// # Errors
/// Those of [`lambda::run`].
pub async fn serve_authenticated<H, F>(
    guard: &AuthenticatedGuard,
    handler: H,
) -> Result<(), StartError>
where
    H: Fn(Caller, Request) -> F + Sync,
    F: Future<Output = Result<Response, ApiError>> + Send,
{
    let (handler, authenticator) = (&handler, &guard.authenticator);
    let guard = &guard.guard;
    guard.connect_early().await;
    run(|request| {
        handle(guard.check(request), async move |checked: Checked<_>| {
            let now = checked.request.received_at();
            let authenticating = authenticator.authenticate(&checked.token, now);
            let (charged, caller) = tokio::join!(checked.charge.charge(), authenticating);
            charged?;
            handler(caller?, checked.request).await
        })
    })
    .await
}

/// Serves clients that present a session's token. The handler gets the token, which it judges itself, and the pending
/// charge of the request.
///
/// # Errors
/// Those of [`lambda::run`].
pub async fn serve_session<T, H, F>(guard: &Guard<T>, handler: H) -> Result<(), StartError>
where
    T: Tokens + Sync,
    T::Presented: Send,
    H: Fn(T::Presented, Request, PendingLimits) -> F + Sync,
    F: Future<Output = Result<Response, ApiError>> + Send,
{
    let handler = &handler;
    guard.connect_early().await;
    run(|request| {
        handle(guard.check(request), async move |checked: Checked<_>| {
            let pending = PendingLimits(checked.charge.clone());
            let result = handler(checked.token, checked.request, pending).await;
            checked.charge.charge().await?; // if the handler returned before charging
            result
        })
    })
    .await
}

/// Serves everybody without limits: for answers that cost less than counting.
///
/// # Errors
/// Those of [`lambda::run`].
pub async fn serve_unlimited<H, F>(handler: H) -> Result<(), StartError>
where
    H: Fn(Request) -> F + Sync,
    F: Future<Output = Result<Response, ApiError>> + Send,
{
    serve_unlimited_within(DEADLINE, handler).await
}

/// Serves everybody without limits and with another deadline: for answers that wait for services elsewhere.
///
/// # Errors
/// Those of [`lambda::run`].
pub async fn serve_unlimited_within<H, F>(deadline: Duration, handler: H) -> Result<(), StartError>
where
    H: Fn(Request) -> F + Sync,
    F: Future<Output = Result<Response, ApiError>> + Send,
{
    let handler = &handler;
    run_within(deadline, |request| async move {
        Handled {
            result: handler(request).await,
            charge: None,
        }
    })
    .await
}

/// The result of a request, and its limits.
struct Handled {
    result: Result<Response, ApiError>,
    charge: Option<Charge>,
}

/// Handles a request that the guard has let in, and keeps its charge for the headers of the answer.
async fn handle<P>(
    checked: Result<Checked<P>, ApiError>,
    handler: impl AsyncFnOnce(Checked<P>) -> Result<Response, ApiError>,
) -> Handled {
    match checked {
        Ok(checked) => {
            let charge = Some(checked.charge.clone());
            let result = handler(checked).await;
            Handled { result, charge }
        }
        Err(error) => Handled {
            result: Err(error),
            charge: None,
        },
    }
}

/// Answers requests until SIGTERM, each within [`DEADLINE`].
async fn run<H, F>(handle: H) -> Result<(), StartError>
where
    H: Fn(Request) -> F + Sync,
    F: Future<Output = Handled> + Send,
{
    run_within(DEADLINE, handle).await
}

/// Answers requests until SIGTERM. A request that fails or panics gets a 5xx and affects no other.
async fn run_within<H, F>(deadline: Duration, handle: H) -> Result<(), StartError>
where
    H: Fn(Request) -> F + Sync,
    F: Future<Output = Handled> + Send,
{
    let (handle, is_cold) = (&handle, &AtomicBool::new(true));
    let endpoint = ServiceBuilder::new()
        .layer(CatchPanicLayer::custom(panicked))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            deadline,
        ))
        .service_fn(move |request| answer(handle, request));
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

/// Answers a request, with its limits in the `RateLimit` headers.
async fn answer<H, F>(handle: &H, request: lambda_http::Request) -> Result<Answer, Infallible>
where
    H: Fn(Request) -> F,
    F: Future<Output = Handled>,
{
    let id = request_id(&request);
    let handled = match Request::new(request) {
        Some(request) => handle(request).await,
        None => Handled {
            result: Err(ApiError::NotFound),
            charge: None,
        },
    };
    let mut answer = match handled.result {
        Ok(response) => response.into_answer(),
        Err(error) => failed(&error, &id),
    };
    if let Some(quota) = handled.charge.and_then(|charge| charge.tightest()) {
        set_rate_limit(answer.headers_mut(), &quota);
    }
    Ok(answer)
}

/// Answers a request and logs the outcome.
async fn observe<S, B>(
    request: lambda_http::Request,
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
    let observed = async {
        let cold_start = is_cold.swap(false, Ordering::Relaxed);
        if cold_start {
            telemetry::count("ColdStarts", &[]);
        }
        let Ok(answer) = endpoint.oneshot(request).await;
        let answer = match Outcome::of(&answer) {
            Some(_) => answer.map(UnsyncBoxBody::new),
            None => failed(&layer_error(answer.status()), &id).map(in_a_box),
        };
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

/// Returns the error for an answer of the layers above the handler.
fn layer_error(status: StatusCode) -> ApiError {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => ApiError::ServiceUnavailable("no answer in time".into()),
        _ => ApiError::Internal("the handler panicked".into()),
    }
}

/// Answers a request whose handler panicked. The panic hook has logged the location; the message may contain a value,
/// so it is dropped.
fn panicked(_: Box<dyn Any + Send>) -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    answer
}

fn in_a_box(body: Full<Bytes>) -> UnsyncBoxBody<Bytes, BoxError> {
    UnsyncBoxBody::new(body.map_err(|never| match never {}))
}
