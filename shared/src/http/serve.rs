//! The loop of every function: event in, answer out, whatever happens in between.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::event::{Answer, Event};
use super::guard::Guard;
use super::response::failure;
use super::{Request, Response};
use crate::config::StartError;
use crate::error::ApiError;
use crate::telemetry::RequestLine;
use crate::{runtime, telemetry};

/// A client is told within two seconds; stores that are slow one after the other must not add up.
const DEADLINE: Duration = Duration::from_millis(1800);

/// Serves the requests that the guard admits, until SIGTERM arrives. A handler that fails or panics costs its own
/// request a 5xx and no other.
///
/// # Errors
/// Those of [`runtime::run`].
pub async fn serve<H, F>(guard: &Guard, handler: H) -> Result<(), StartError>
where
    H: Fn(Request) -> F,
    F: Future<Output = Result<Response, ApiError>>,
{
    let is_cold = AtomicBool::new(true);
    let (handler, is_cold) = (&handler, &is_cold);
    guard.start().await;
    // Also a failure is an answer; the invocation never fails.
    let answer = |event: Event| async move { Ok(respond(event, guard, handler, is_cold).await) };
    runtime::run(answer).await
}

async fn respond<H, F>(event: Event, guard: &Guard, handler: &H, is_cold: &AtomicBool) -> Answer
where
    H: Fn(Request) -> F,
    F: Future<Output = Result<Response, ApiError>>,
{
    let started = Instant::now();
    let mut request = Request::new(event);
    let tally = request.tally().clone();
    let request_id = request.origin().request_id.clone();
    let route = request.route().to_owned();
    let function = telemetry::function_name();
    let cold_start = is_cold.swap(false, Ordering::Relaxed);
    if cold_start {
        telemetry::count("ColdStarts", &[]);
    }

    // Boxed, or the compiler gives up on the size of what a handler's future holds.
    let (limits, id) = (&tally, &request_id);
    let handled = Box::pin(async move {
        guard.admit(&mut request).await?;
        let result = handler(request).await;
        limits.pay(id).await?; // a request that was refused before it asked the stores
        result
    });
    let handled = AssertUnwindSafe(handled).catch_unwind();
    let result = match tokio::time::timeout(DEADLINE, handled).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(panicked(&panic)),
        Err(_) => Err(ApiError::ServiceUnavailable("no answer in time".into())),
    };

    let quota = tally.tightest();
    let (outcome, answer) = match result {
        Ok(response) => ("ok", response.into_answer(&request_id, quota.as_ref())),
        Err(error) => {
            if let Some(cause) = error.cause() {
                tracing::error!(request_id, function, route, cause = %cause, "failed");
            }
            (error.code(), failure(&error, &request_id, quota.as_ref()))
        }
    };
    telemetry::log_request(RequestLine {
        request_id: &request_id,
        route: &route,
        outcome,
        status: answer.status_code,
        duration_ms: started.elapsed().as_secs_f64() * 1000.0,
        cold_start,
        target: module_path!(),
    });
    answer
}

/// The panic hook has logged where; the message may quote a value, so it is dropped.
fn panicked(_: &Box<dyn Any + Send>) -> ApiError {
    ApiError::Internal("the handler panicked".into())
}
