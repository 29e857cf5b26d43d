//! What a function says of itself: one JSON line per event on standard output, metrics in
//! CloudWatch's embedded metric format. Never a password, token, link, address or body.

use std::io::Write;
use std::panic::PanicHookInfo;
use std::sync::LazyLock;
use std::time::Instant;

use serde_json::{Map, Value, json};
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::clock;
use crate::domain::timestamp::Timestamp;

/// What every line says, read once.
static FUNCTION_NAME: LazyLock<String> = LazyLock::new(|| variable("AWS_LAMBDA_FUNCTION_NAME"));
static ENVIRONMENT: LazyLock<String> = LazyLock::new(|| variable("ENVIRONMENT"));

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// The namespace of all metrics.
const NAMESPACE: &str = "Gatehouse";

/// Starts logging for the crate of this name. `AWS_LAMBDA_LOG_LEVEL` sets the level of its lines and
/// of this crate's; everything else is held at warnings, because below that libraries log requests with all that is in them.
pub fn init(function: &str) {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL")
        .ok()
        .and_then(|level| level.parse::<Level>().ok());
    let ours = LevelFilter::from_level(level.unwrap_or(Level::INFO));
    let targets = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("shared", ours)
        .with_target(function, ours);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .fmt_fields(JsonFields::new())
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(std::io::stdout);
    // A second subscriber in one process is a mistake that tests alone can make.
    let _ = tracing_subscriber::registry()
        .with(targets)
        .with(lines)
        .try_init();
    std::panic::set_hook(Box::new(log_panic));
}

/// Where it happened; what the message says may be a value.
fn log_panic(panic: &PanicHookInfo<'_>) {
    tracing::error!(
        location = panic.location().map(tracing::field::display),
        "panic"
    );
}

/// Counts one of something.
pub fn count(metric: &str, dimensions: &[(&str, &str)]) {
    emit(metric, "Count", 1.0, dimensions);
}

/// Hands over what is buffered.
pub fn flush() {
    // There is no one left to tell when standard output is closed.
    let _ = std::io::stdout().flush();
}

/// Runs something that hashes a password, and records how long that took.
pub fn hashing<T>(hash: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = hash();
    let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
    emit("HashTime", "Milliseconds", milliseconds, &[]);
    result
}

/// The function's name.
pub fn function_name() -> &'static str {
    &FUNCTION_NAME
}

/// One line in the embedded metric format (CloudWatch Logs, "Specification: Embedded metric
/// format"). Dimensions must be few: each combination is a metric that is paid for.
fn emit(metric: &str, unit: &str, value: f64, dimensions: &[(&str, &str)]) {
    println!(
        "{}",
        embedded_metric(metric, unit, value, &ENVIRONMENT, dimensions, clock::now())
    );
}

fn embedded_metric(
    metric: &str,
    unit: &str,
    value: f64,
    environment: &str,
    dimensions: &[(&str, &str)],
    now: Timestamp,
) -> Value {
    let dimensions: Vec<(&str, &str)> = std::iter::once(("Environment", environment))
        .chain(dimensions.iter().copied())
        .collect();
    let names: Vec<&str> = dimensions.iter().map(|(name, _)| *name).collect();
    let mut line = Map::new();
    line.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": now.milliseconds(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [names],
                "Metrics": [{ "Name": metric, "Unit": unit }],
            }],
        }),
    );
    line.extend(
        dimensions
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value))),
    );
    line.insert(metric.to_owned(), json!(value));
    Value::Object(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_a_line_in_the_embedded_metric_format() {
        let line = embedded_metric(
            "Logins",
            "Count",
            1.0,
            "dev",
            &[("Outcome", "success")],
            Timestamp::from_milliseconds(5),
        );

        assert_eq!(
            line,
            json!({
                "_aws": {
                    "Timestamp": 5,
                    "CloudWatchMetrics": [{
                        "Namespace": "Gatehouse",
                        "Dimensions": [["Environment", "Outcome"]],
                        "Metrics": [{ "Name": "Logins", "Unit": "Count" }],
                    }],
                },
                "Environment": "dev",
                "Outcome": "success",
                "Logins": 1.0,
            })
        );
    }
}
