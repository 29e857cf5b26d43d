//! The log: shown to the user, as text or as the functions' own JSON, or kept for tests.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::console::Activity;

/// The destination of the functions' lines and of the requests.
#[derive(Clone, Debug)]
pub struct Log {
    destination: Destination,
    /// The same for the console.
    pub activity: Activity,
}

#[derive(Clone, Debug)]
enum Destination {
    /// Standard error, one line for a request.
    Text {
        /// The limits that have been explained.
        explained: Arc<Mutex<BTreeSet<String>>>,
    },
    /// Standard error, each line as the function wrote it.
    Json,
    Kept(Arc<Mutex<Vec<String>>>),
}

/// A request with its answer, for one line.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    /// API Gateway's id of the request.
    pub request_id: String,
    /// The time at which the request came.
    #[serde(serialize_with = "as_rfc3339")]
    pub received_at: OffsetDateTime,
    /// The method.
    pub method: String,
    /// The path without its query.
    pub path: String,
    /// The function that answered; `None` if the gateway itself did.
    pub function: Option<String>,
    /// The answer's status.
    pub status: u16,
    /// The code of a failure.
    pub code: Option<String>,
    /// The name of the limit or lockout that refused the request.
    pub limit: Option<String>,
    /// The time until the answer.
    #[serde(rename = "durationMs", serialize_with = "milliseconds")]
    pub duration: Duration,
}

/// Returns a time in UTC with milliseconds (RFC 3339).
pub(crate) fn rfc3339(time: &OffsetDateTime) -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    time.format(format).unwrap_or_default()
}

fn as_rfc3339<S: Serializer>(time: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(time))
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64() * 1000.0)
}

impl Log {
    /// Shows a line for each request on standard error, and the functions' warnings and errors.
    pub fn text() -> Self {
        let explained = Arc::default();
        Self::to(Destination::Text { explained })
    }

    /// Shows every line of the functions on standard error, as they wrote it.
    pub fn json() -> Self {
        Self::to(Destination::Json)
    }

    /// Keeps every line for [`Log::lines`].
    pub fn kept() -> Self {
        Self::to(Destination::Kept(Arc::default()))
    }

    fn to(destination: Destination) -> Self {
        Self {
            destination,
            activity: Activity::default(),
        }
    }

    /// Adds a line of an execution environment. `request_id` is that of the environment's last line about a request:
    /// metrics have none of their own, and belong to that request.
    pub fn add_line(&self, function: &str, line: &str, request_id: &mut String) {
        self.add(function, line);
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            return;
        };
        if let Some(id) = line["request_id"].as_str() {
            id.clone_into(request_id);
        }
        if !request_id.is_empty() {
            self.activity.add_line(request_id, line);
        }
    }

    /// Adds a line of a function, or of a part of the stack.
    pub fn add(&self, function: &str, line: &str) {
        match &self.destination {
            Destination::Text { .. } => {
                if let Some(text) = readable(function, line) {
                    show(&text);
                }
            }
            Destination::Json => show(&format!("{function}: {line}")),
            Destination::Kept(lines) => {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push(format!("{function}: {line}"));
            }
        }
    }

    /// Adds a request. As JSON the function's own line says it all.
    pub fn add_exchange(&self, exchange: Exchange) {
        self.tell(&exchange);
        self.activity.add_exchange(exchange);
    }

    fn tell(&self, exchange: &Exchange) {
        let Destination::Text { explained } = &self.destination else {
            return;
        };
        show(&exchange.line());
        let Some((subject, advice)) = exchange.advice() else {
            return;
        };
        let mut explained = explained.lock().unwrap_or_else(PoisonError::into_inner);
        if explained.insert(subject) {
            show(&warning(&advice));
        }
    }

    /// Returns the lines that were kept, each after its function's name.
    pub fn lines(&self) -> Vec<String> {
        match &self.destination {
            Destination::Kept(lines) => {
                let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.clone()
            }
            _ => Vec::new(),
        }
    }
}

impl Exchange {
    /// Returns the line: time (UTC), method, path, status, limit or code, duration, function.
    fn line(&self) -> String {
        let time = format_description!("[hour]:[minute]:[second]");
        let time = self.received_at.format(time).unwrap_or_default();
        let colour = match self.status {
            ..300 => AnsiColor::Green,
            300..400 => AnsiColor::Cyan,
            400..500 => AnsiColor::Yellow,
            _ => AnsiColor::Red,
        };
        let reason = self.limit.as_ref().or(self.code.as_ref());
        let reason = reason.map(|reason| format!(" {reason}"));
        let outcome = format!("{}{}", self.status, reason.unwrap_or_default());
        format!(
            "{time} {:<6} {:<34} {} {:>6.0} ms  {}",
            self.method,
            self.path,
            styled(colour, &format!("{outcome:<28}")),
            self.duration.as_secs_f64() * 1000.0,
            self.function.as_deref().unwrap_or("gateway"),
        )
    }

    /// Returns the option that would let the request through, and the limit or code that it is about.
    fn advice(&self) -> Option<(String, String)> {
        let (code, limit) = (self.code.as_deref()?, self.limit.as_deref());
        let advice = match (code, limit) {
            ("rate_limited", Some(limit)) => {
                let variable = format!("RATE_LIMIT_{}", limit.to_uppercase().replace('-', "_"));
                format!(
                    "the limit {limit} refuses requests: --limits off, or --env {variable}=REQUESTS/WINDOW such as 100/1m"
                )
            }
            ("account_locked", Some(limit)) => {
                let variable = match limit {
                    "account-lockout" => "ACCOUNT_LOCKOUT",
                    "two-factor-lockout" => "TWO_FACTOR_LOCKOUT",
                    _ => "LOGIN_LOCKOUT",
                };
                format!("{limit} is in force: --env {variable}=FAILURES/WINDOW such as 100/1m")
            }
            ("bot_detected", _) => "the user agent is a bot's: --env BOT_PROTECTION=log".to_owned(),
            ("email_not_verified", _) => {
                "REQUIRE_VERIFIED_EMAIL is true: the mail with the link is in the inbox".to_owned()
            }
            _ => return None,
        };
        Some((limit.unwrap_or(code).to_owned(), advice))
    }
}

/// Returns a function's line for people; `None` for metrics and for what the request's own line says.
fn readable(function: &str, line: &str) -> Option<String> {
    let Ok(Value::Object(fields)) = serde_json::from_str(line) else {
        return Some(warning(&format!("{function}: {line}"))); // the gateway's own, or a panic's
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let colour = match text("level") {
        "ERROR" => AnsiColor::Red,
        "WARN" => AnsiColor::Yellow,
        _ => return None,
    };
    let level = styled(colour, &text("level").to_lowercase());
    let message = text("message");
    let fields = own_fields(&fields);
    Some(format!("         {level} {function}: {message}{fields}"))
}

/// Returns the fields that the line's author wrote, not those of every line.
fn own_fields(fields: &Map<String, Value>) -> String {
    const OF_ALL: [&str; 11] = [
        "level",
        "target",
        "timestamp",
        "message",
        "function",
        "name",
        "request_id",
        "route",
        "trace_id",
        "version",
        "cold_start",
    ];
    let own = fields
        .iter()
        .filter(|(name, _)| !OF_ALL.contains(&name.as_str()));
    own.map(|(name, value)| match value {
        Value::String(text) => format!(" {name}={text}"),
        value => format!(" {name}={value}"),
    })
    .collect()
}

fn warning(text: &str) -> String {
    format!("         {} {text}", styled(AnsiColor::Yellow, "warn"))
}

fn styled(colour: AnsiColor, text: &str) -> String {
    let style = Style::new().fg_color(Some(colour.into()));
    format!("{style}{text}{style:#}")
}

/// Writes a line; in colour on a terminal, unless `NO_COLOR` is set. If standard error is closed, the line is lost.
fn show(line: &str) {
    let mut stream = AutoStream::auto(std::io::stderr());
    drop(writeln!(stream, "{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(status: u16, code: &str, limit: Option<&str>) -> Exchange {
        Exchange {
            request_id: "1".to_owned(),
            received_at: OffsetDateTime::UNIX_EPOCH,
            method: "POST".to_owned(),
            path: "/api/auth/login".to_owned(),
            function: Some("login".to_owned()),
            status,
            code: Some(code.to_owned()),
            limit: limit.map(str::to_owned),
            duration: Duration::from_micros(38_400),
        }
    }

    #[test]
    fn a_request_is_one_line() {
        let line = exchange(401, "invalid_credentials", None).line();

        let plain = anstream::adapter::strip_str(&line).to_string();
        let words: Vec<&str> = plain.split_whitespace().collect();
        assert_eq!(
            words,
            [
                "00:00:00",
                "POST",
                "/api/auth/login",
                "401",
                "invalid_credentials",
                "38",
                "ms",
                "login"
            ]
        );
        assert!(line.contains("\u{1b}[33m401"), "{line:?}");
    }

    #[test]
    fn a_limit_is_named_with_its_option() {
        for (code, limit, option) in [
            (
                "rate_limited",
                Some("password-reset"),
                "RATE_LIMIT_PASSWORD_RESET=",
            ),
            ("account_locked", Some("login-lockout"), "LOGIN_LOCKOUT="),
            (
                "account_locked",
                Some("two-factor-lockout"),
                "TWO_FACTOR_LOCKOUT=",
            ),
            ("bot_detected", None, "BOT_PROTECTION=log"),
        ] {
            let (_, advice) = exchange(429, code, limit).advice().unwrap();
            assert!(advice.contains(&format!("--env {option}")), "{advice}");
        }
        assert_eq!(exchange(401, "invalid_token", None).advice(), None);
    }

    #[test]
    fn lines_of_functions_are_shown_if_they_warn() {
        let shown = |line: &str| {
            let text = readable("login", line);
            text.map(|text| anstream::adapter::strip_str(&text).to_string())
        };

        let warning =
            r#"{"level":"WARN","message":"slow","store":"redis","request_id":"1","n":[2]}"#;
        assert_eq!(
            shown(warning).unwrap(),
            "         warn login: slow n=[2] store=redis"
        );
        let panic = "thread 'main' panicked";
        assert_eq!(
            shown(panic).unwrap(),
            "         warn login: thread 'main' panicked"
        );
        assert_eq!(shown(r#"{"level":"INFO","message":"request"}"#), None);
        assert_eq!(shown(r#"{"_aws":{},"Logins":1}"#), None);
    }
}
