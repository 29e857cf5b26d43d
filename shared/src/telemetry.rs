//! Logs and metrics: one JSON line per event on standard output, metrics in CloudWatch's embedded metric format. They
//! never contain a password, token, link, address or body.

use std::io;
use std::panic::PanicHookInfo;
use std::sync::{LazyLock, OnceLock};
use std::time::Instant;

use lambda_runtime::Context;
use metrics::{Label, Unit, counter, describe_counter, describe_histogram, histogram};
use metrics_cloudwatch_embedded::{Builder, Collector};
use tracing::{Level, Span};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The namespace of all metrics.
const NAMESPACE: &str = "Gatehouse";

/// All counters. Use few dimensions: each combination is a metric that costs money.
const COUNTERS: [(&str, &str); 15] = [
    ("Authorizations", "Decisions of the authorizer, by outcome"),
    ("Bots", "Requests by bots"),
    ("ColdStarts", "First requests of an environment"),
    (
        "Introspections",
        "Tokens that services asked about, by outcome",
    ),
    ("LockedOut", "Attempts at an account that is locked"),
    ("Lockouts", "Failures that lock an account"),
    ("Logins", "Sign-ins, by outcome"),
    ("Mails", "Mails, by outcome"),
    ("RateLimited", "Requests over a limit, by policy"),
    ("RefreshTokenReuse", "Refresh tokens that had been replaced"),
    (
        "RefreshTokenRepeated",
        "Successors handed out again to another agent or network",
    ),
    ("Refreshes", "Refreshes, by outcome"),
    ("Registrations", "Accounts made"),
    ("TokensIssued", "Pairs of tokens"),
    ("Undeliverable", "Addresses marked, by reason"),
];
const HASH_TIME: &str = "HashTime";

static FUNCTION_NAME: LazyLock<String> = LazyLock::new(|| variable("AWS_LAMBDA_FUNCTION_NAME"));
static FUNCTION_VERSION: LazyLock<String> =
    LazyLock::new(|| variable("AWS_LAMBDA_FUNCTION_VERSION"));
static METRICS: OnceLock<&Collector> = OnceLock::new();

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Starts logging and metrics for the crate with this name. `AWS_LAMBDA_LOG_LEVEL` sets the log level of that crate and
/// of this one. All other crates log warnings and errors only, because at lower levels libraries log whole requests.
pub fn init(function: &str) {
    let ours = LevelFilter::from_level(match variable("AWS_LAMBDA_LOG_LEVEL").as_str() {
        "FATAL" => Level::ERROR, // the only level of Lambda that tracing lacks
        level => level.parse().unwrap_or(Level::INFO),
    });
    let targets = Targets::new()
        .with_default(LevelFilter::WARN)
        // This target logs failures without their span, and panics with their message.
        .with_target("lambda_runtime::layers::panic", LevelFilter::OFF)
        .with_target("shared", ours)
        .with_target(function, ours);
    let lines = json_subscriber::fmt::layer()
        .flatten_event(true)
        .flatten_current_span_on_top_level(true)
        .with_current_span(false)
        .with_span_list(false);
    // Only tests can install a second subscriber in one process.
    let _ = tracing_subscriber::registry()
        .with(targets)
        .with(lines)
        .try_init();
    std::panic::set_hook(Box::new(log_panic));
    let metrics = Builder::new()
        .cloudwatch_namespace(NAMESPACE)
        .with_dimension("Stack", stack(function).to_owned());
    if let Ok(metrics) = metrics.init() {
        let _ = METRICS.set(metrics);
    }
    for (name, description) in COUNTERS {
        describe_counter!(name, Unit::Count, description);
    }
    describe_histogram!(HASH_TIME, Unit::Milliseconds, "How long a hash takes");
}

/// Returns the name of the function's stack: `gatehouse-dev` for `gatehouse-dev-login`.
fn stack(function: &str) -> &'static str {
    let suffix = format!("-{}", function.replace('_', "-"));
    FUNCTION_NAME.strip_suffix(&suffix).unwrap_or("local")
}

/// Logs the location of a panic; the message may contain a value.
fn log_panic(panic: &PanicHookInfo<'_>) {
    tracing::error!(
        location = panic.location().map(tracing::field::display),
        "panic"
    );
}

/// Increments a counter.
pub fn count(metric: &'static str, dimensions: &[(&'static str, &str)]) {
    let dimensions = dimensions.iter();
    let labels: Vec<Label> = dimensions
        .map(|(name, value)| Label::new(*name, (*value).to_owned()))
        .collect();
    counter!(metric, labels).increment(1);
}

/// Runs a function that hashes a password, and records its duration.
pub fn hashing<T>(hash: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = hash();
    histogram!(HASH_TIME).record(started.elapsed().as_secs_f64() * 1000.0);
    result
}

/// Writes the metrics of an event. Must run before the answer is handed over: after that, the environment may be
/// frozen.
pub fn flush() {
    if let Some(metrics) = METRICS.get() {
        // If standard output is closed, the error cannot be reported.
        let _ = metrics.flush(io::stdout().lock()); // locked: in one piece
    }
}

/// Creates the span of a request or another event: the fields of all its log lines.
pub(crate) fn span(request_id: &str, route: Option<&str>, context: Option<&Context>) -> Span {
    let trace = context.and_then(|context| context.xray_trace_id.as_deref());
    // `Root=1-…;Parent=…;Sampled=1` (AWS X-Ray Developer Guide, "Tracing header"): traces are searched by their root.
    // The client may have set it; a valid one is 35 characters long.
    let trace_id = trace.and_then(|trace| {
        let mut parts = trace.split(';');
        let root = parts.find_map(|part| part.trim().strip_prefix("Root="));
        root.filter(|root| root.len() == 35)
    });
    // At error level, so that the span is part of the log at every log level.
    tracing::error_span!(
        "request",
        request_id,
        trace_id,
        function = *FUNCTION_NAME,
        version = *FUNCTION_VERSION,
        route
    )
}
