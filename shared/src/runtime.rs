//! The loop of every function: events in, answers out, until SIGTERM.

use std::time::Duration;

use lambda_runtime::{LambdaEvent, service_fn};
use serde::{Serialize, de::DeserializeOwned};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use crate::config::StartError;
use crate::telemetry;

/// How long an answer that is ready may take to be handed over after SIGTERM. The runtime's client
/// says when it begins to hand over, not when it is done.
const DRAIN: Duration = Duration::from_millis(100);

/// Hands events to the handler, one at a time, as Lambda sends them, until the runtime ends or SIGTERM
/// arrives; the event in hand is answered first.
///
/// # Errors
/// Where the runtime cannot be reached. An error of the handler fails the invocation alone; its text is
/// logged.
pub async fn run<E, A, H, F>(handler: H) -> Result<(), StartError>
where
    E: DeserializeOwned,
    A: Serialize,
    H: Fn(E) -> F,
    F: Future<Output = Result<A, String>>,
{
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::new)?;
    register_for_sigterm().await;
    let busy = Semaphore::new(1);
    let (handler, busy_ref) = (&handler, &busy);
    let answer = |event: LambdaEvent<E>| async move {
        let _permit = busy_ref.acquire().await;
        let answer = handler(event.payload).await;
        telemetry::flush();
        answer
    };
    let run = lambda_runtime::run(service_fn(answer));
    tokio::pin!(run);

    tokio::select! {
        result = &mut run => return result.map_err(StartError::new),
        _ = terminate.recv() => {}
    }
    // Finish: the event in hand is answered before the connections are closed.
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
