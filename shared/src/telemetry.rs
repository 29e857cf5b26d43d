//! What a function says of itself: one JSON line per event on standard output, metrics in
//! CloudWatch's embedded metric format. Never a password, token, link, address or body.

use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lambda_runtime::Context;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use tracing::{Level, Span};
use tracing_subscriber::filter::{LevelFilter, Targets};
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
    let lines = json_subscriber::fmt::layer()
        .flatten_event(true)
        .flatten_current_span_on_top_level(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(|| Output);
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

/// Lines that wait: a request's metrics and its log line are one write.
static WAITING: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fn waiting() -> MutexGuard<'static, Vec<u8>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Standard output, where what waits comes first.
struct Output;

impl Write for Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = waiting();
        waiting.extend_from_slice(line);
        let result = io::stdout().write_all(&waiting);
        waiting.clear();
        result.map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// Writes what waits.
pub fn flush() {
    // There is no one left to tell when standard output is closed.
    let _ = Output.write(&[]).and_then(|_| Output.flush());
}

/// Runs something that hashes a password, and records how long that took.
pub fn hashing<T>(hash: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = hash();
    let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
    emit("HashTime", "Milliseconds", milliseconds, &[]);
    result
}

fn emit(metric: &str, unit: &str, value: f64, dimensions: &[(&str, &str)]) {
    let metric = Metric {
        name: metric,
        unit,
        value,
        environment: &ENVIRONMENT,
        dimensions,
        now: clock::now(),
    };
    wait(&metric);
}

/// Adds a line to those that wait.
fn wait(line: &impl Serialize) {
    let mut waiting = waiting();
    // Neither plain data nor memory refuses to be written.
    let _ = serde_json::to_writer(&mut *waiting, line);
    waiting.push(b'\n');
}

/// The span of a request or of another event: what all lines about it say.
pub(crate) fn span(request_id: &str, route: Option<&str>, context: Option<&Context>) -> Span {
    let trace = context.and_then(|context| context.xray_trace_id.as_deref());
    // `Root=1-…;Parent=…;Sampled=1` (AWS X-Ray Developer Guide, "Tracing header"): the root is what traces are found by.
    let trace_id = trace.and_then(|trace| {
        let mut parts = trace.split(';');
        parts.find_map(|part| part.trim().strip_prefix("Root="))
    });
    // At the level of errors, so that no level of the log leaves it out.
    tracing::error_span!(
        "request",
        request_id,
        trace_id,
        function = *FUNCTION_NAME,
        route
    )
}

/// One line in the embedded metric format (CloudWatch Logs, "Specification: Embedded metric
/// format"). Dimensions must be few: each combination is a metric that is paid for.
struct Metric<'a> {
    name: &'a str,
    unit: &'a str,
    value: f64,
    environment: &'a str,
    dimensions: &'a [(&'a str, &'a str)],
    now: Timestamp,
}

impl Serialize for Metric<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Metadata<'a> {
            timestamp: i64,
            cloud_watch_metrics: [Directive<'a>; 1],
        }
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Directive<'a> {
            namespace: &'static str,
            dimensions: [Vec<&'a str>; 1],
            metrics: [Definition<'a>; 1],
        }
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Definition<'a> {
            name: &'a str,
            unit: &'a str,
        }
        let environment = [("Environment", self.environment)];
        let dimensions = || environment.iter().chain(self.dimensions);
        let directive = Directive {
            namespace: NAMESPACE,
            dimensions: [dimensions().map(|(name, _)| *name).collect()],
            metrics: [Definition {
                name: self.name,
                unit: self.unit,
            }],
        };
        let metadata = Metadata {
            timestamp: self.now.milliseconds(),
            cloud_watch_metrics: [directive],
        };
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("_aws", &metadata)?;
        for (name, value) in dimensions() {
            line.serialize_entry(name, value)?;
        }
        line.serialize_entry(self.name, &self.value)?;
        line.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_metric_is_a_line_in_the_embedded_metric_format() {
        let metric = Metric {
            name: "Logins",
            unit: "Count",
            value: 1.0,
            environment: "dev",
            dimensions: &[("Outcome", "success")],
            now: Timestamp::from_milliseconds(5),
        };

        assert_eq!(
            serde_json::to_value(metric).unwrap(),
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
