//! The event loop of every function: receives events and returns answers until SIGTERM.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use lambda_runtime::{Context, Diagnostic, Error, LambdaEvent, LambdaInvocation, Runtime};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tower::layer::layer_fn;
use tower::{Service, ServiceExt, service_fn};
use tracing::Instrument;

use crate::config::StartError;
use crate::telemetry;

/// Runs until SIGTERM arrives; the present event is answered first, and its answer handed over.
///
/// # Errors
/// If Lambda's Runtime API cannot be reached.
pub async fn run<S>(runtime: Runtime<S>) -> Result<(), StartError>
where
    S: Service<LambdaInvocation, Response = (), Error = Error>,
{
    let is_busy = &watch::Sender::new(false);
    // The outermost layer, around the runtime's own: its future ends when Lambda has accepted the answer.
    let tracked = layer_fn(|invocations: S| {
        invocations.map_future(|handing_over| async {
            is_busy.send_replace(true);
            let result = handing_over.await;
            is_busy.send_replace(false);
            result
        })
    });
    let mut sigterm = signal(SignalKind::terminate()).map_err(StartError::new)?;
    register_for_sigterm().await;
    let mut busy = is_busy.subscribe();
    let stopped = async {
        sigterm.recv().await;
        let _ = busy.wait_for(|is_busy| !is_busy).await; // never fails: the sender lives longer
    };
    tokio::select! {
        biased; // an event that has arrived is still answered
        ended = runtime.layer(tracked).run() => return ended.map_err(StartError::ended),
        () = stopped => {}
    }
    tracing::info!("stopped by SIGTERM");
    Ok(())
}

/// Registers an extension without events: Lambda sends SIGTERM only to functions with an extension.
async fn register_for_sigterm() {
    let extension = lambda_extension::Extension::new()
        .with_events(&[])
        .with_extension_name("gatehouse-sigterm");
    match extension.register().await {
        // This request is never answered while the function lives. It must be awaited all the same, or Lambda considers
        // the extension as still starting.
        Ok(extension) => drop(tokio::spawn(extension.run())),
        Err(_) => tracing::warn!("no SIGTERM before the end: this runtime knows no extensions"),
    }
}

/// Passes events that are not HTTP requests to the handler, each with its invocation.
///
/// # Errors
/// Those of [`run`]. An error of the handler only fails the invocation; its text is logged and reported to Lambda.
pub async fn serve_events<E, A, H, F>(handler: H) -> Result<(), StartError>
where
    E: DeserializeOwned,
    A: Serialize,
    H: Fn(E, Context) -> F,
    F: Future<Output = Result<A, String>>,
{
    let handler = &handler;
    let handle = |LambdaEvent { payload, context }: LambdaEvent<Value>| {
        let span = telemetry::span(&context.request_id, None, Some(&context));
        let handling = async move {
            let handled = match serde_json::from_value(payload) {
                // Lambda would receive a panic's message, which may contain a value; the hook has logged the location.
                Ok(event) => match AssertUnwindSafe(handler(event, context))
                    .catch_unwind()
                    .await
                {
                    Ok(result) => result,
                    Err(_) => Err("the handler panicked".to_owned()),
                },
                // serde's own message is left out, as it may quote the event.
                Err(_) => Err("no event that is known here".to_owned()),
            };
            telemetry::flush();
            handled.map_err(failed)
        };
        handling.instrument(span)
    };
    run(Runtime::new(service_fn(handle))).await
}

fn failed(cause: String) -> Diagnostic {
    tracing::error!(cause, "the invocation has failed");
    Diagnostic {
        error_type: "Function.Failed".to_owned(),
        error_message: cause,
    }
}
