//! The loop of every function: event in, answer out, whatever happens in between.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use lambda_runtime::{LambdaEvent, service_fn};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use super::event::{Answer, Event};
use super::response::failure;
use super::{Request, Response};
use crate::config::StartError;
use crate::error::ApiError;
use crate::telemetry;

/// How long an answer that is ready may take to be handed over after SIGTERM. The runtime's client
/// says when it begins to hand over, not when it is done.
const DRAIN: Duration = Duration::from_millis(100);

/// A client is told within two seconds; stores that are slow one after the other must not add up.
const DEADLINE: Duration = Duration::from_millis(1800);

/// Serves requests until the runtime ends or SIGTERM arrives, one at a time, as Lambda sends them.
/// A handler that fails or panics costs its own request a 5xx and no other.
///
/// # Errors
/// Where the runtime cannot be reached.
pub async fn serve<H, F>(handler: H) -> Result<(), StartError>
where
    H: Fn(Request) -> F,
    F: Future<Output = Result<Response, ApiError>>,
{
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::new)?;
    register_for_sigterm().await;
    let is_cold = AtomicBool::new(true);
    let busy = Semaphore::new(1);
    let (handler, is_cold, busy_ref) = (&handler, &is_cold, &busy);
    let answer = |event: LambdaEvent<Event>| async move {
        let _permit = busy_ref.acquire().await;
        Ok::<_, std::convert::Infallible>(respond(event.payload, handler, is_cold).await)
    };
    let run = lambda_runtime::run(service_fn(answer));
    tokio::pin!(run);

    tokio::select! {
        result = &mut run => return result.map_err(StartError::new),
        _ = terminate.recv() => {}
    }
    // Finish: the request in hand is answered before the connections are closed.
    let finish = async {
        let idle = busy.available_permits() == 1;
        let _permit = busy.acquire().await;
        if !idle {
            tokio::time::sleep(DRAIN).await;
        }
    };
    tokio::select! {
        result = &mut run => result.map_err(StartError::new)?,
        () = finish => {}
    }
    tracing::info!("stopped by SIGTERM");
    telemetry::flush();
    Ok(())
}

/// Lambda sends SIGTERM only to functions with an extension: this registers one without events.
async fn register_for_sigterm() {
    let extension = lambda_extension::Extension::new()
        .with_events(&[])
        .with_extension_name("gatehouse-sigterm");
    match extension.register().await {
        // Never answered while the function lives; it must be waited for all the same, or Lambda
        // takes the extension for one that is still starting.
        Ok(extension) => drop(tokio::spawn(extension.run())),
        Err(_) => tracing::warn!("no SIGTERM before the end: this runtime knows no extensions"),
    }
}

async fn respond<H, F>(event: Event, handler: &H, is_cold: &AtomicBool) -> Answer
where
    H: Fn(Request) -> F,
    F: Future<Output = Result<Response, ApiError>>,
{
    let started = Instant::now();
    let request = Request::new(event);
    let request_id = request.origin().request_id.clone();
    let route = request.route().to_owned();
    let function = telemetry::function_name();
    let cold_start = is_cold.swap(false, Ordering::Relaxed);
    if cold_start {
        telemetry::count("ColdStarts", &[]);
    }

    // Boxed, or the compiler gives up on the size of what a handler's future holds.
    let handled = AssertUnwindSafe(Box::pin(handler(request))).catch_unwind();
    let result = match tokio::time::timeout(DEADLINE, handled).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(panicked(&panic)),
        Err(_) => Err(ApiError::ServiceUnavailable("no answer in time".into())),
    };

    let (outcome, answer) = match result {
        Ok(response) => ("ok", response.into_answer(&request_id)),
        Err(error) => {
            if let Some(cause) = error.cause() {
                tracing::error!(request_id, function, route, cause = %cause, "failed");
            }
            (error.code(), failure(&error, &request_id))
        }
    };
    tracing::info!(
        request_id,
        function,
        route,
        outcome,
        status = answer.status_code,
        duration_ms = started.elapsed().as_secs_f64() * 1000.0,
        cold_start,
        "request"
    );
    answer
}

/// The panic hook has logged where; the message may quote a value, so it is dropped.
fn panicked(_: &Box<dyn Any + Send>) -> ApiError {
    ApiError::Internal("the handler panicked".into())
}
