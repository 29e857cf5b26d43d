//! The events and answers of Lambda authorizers (API Gateway Developer Guide): of HTTP APIs with simple responses, and
//! of REST APIs, or HTTP APIs with format 1.0, with an IAM policy.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A request that asks for permission.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// `2.0` for an HTTP API.
    version: Option<String>,
    /// The request as an ARN, in format 2.0.
    route_arn: Option<String>,
    /// The request as an ARN, otherwise.
    method_arn: Option<String>,
    /// The value of the header, of an authorizer of the kind `TOKEN`.
    authorization_token: Option<String>,
    #[serde(default)]
    headers: Option<HashMap<String, String>>,
}

impl Event {
    /// Returns the header `Authorization`. REST APIs pass names as the client wrote them.
    pub fn authorization(&self) -> Option<&str> {
        if let Some(token) = &self.authorization_token {
            return Some(token);
        }
        let mut headers = self.headers.iter().flatten();
        let header = headers.find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        header.map(|(_, value)| value.as_str())
    }

    /// Returns whether this event is one of an authorizer.
    pub fn is_of_authorizer(&self) -> bool {
        self.route_arn.is_some() || self.method_arn.is_some()
    }

    /// Returns the answer in the form that the API expects.
    pub fn answer(&self, is_authorized: bool, context: Context) -> Answer {
        if self.version.as_deref() == Some("2.0") {
            return Answer::Simple {
                is_authorized,
                context: context.0,
            };
        }
        let effect = if is_authorized { "Allow" } else { "Deny" };
        let arn = self.method_arn.as_deref().unwrap_or_default();
        let user = context.0.get("userId").and_then(Value::as_str);
        Answer::Policy {
            principal_id: user.unwrap_or("nobody").to_owned(),
            policy_document: json!({
                "Version": "2012-10-17",
                "Statement": [{
                    "Action": "execute-api:Invoke",
                    "Effect": effect,
                    "Resource": every_route(arn),
                }],
            }),
            context: context.flat(),
        }
    }
}

/// Returns all routes of a request's stage: API Gateway keeps the answer for other routes, and one that names a single
/// route would refuse them. `arn:aws:execute-api:<region>:<account>:<api>/<stage>/<method>/<path>`
fn every_route(arn: &str) -> String {
    let mut parts = arn.splitn(3, '/');
    match (parts.next(), parts.next()) {
        (Some(api), Some(stage)) => format!("{api}/{stage}/*"),
        _ => arn.to_owned(),
    }
}

/// What the function behind the API learns about the caller.
#[derive(Default)]
pub struct Context(pub Map<String, Value>);

impl Context {
    /// Returns the context for a REST API, which passes only texts, numbers and booleans: others become JSON.
    fn flat(self) -> Map<String, Value> {
        let flat = |value: Value| match value {
            Value::Array(_) | Value::Object(_) => Value::String(value.to_string()),
            simple => simple,
        };
        self.0
            .into_iter()
            .map(|(name, value)| (name, flat(value)))
            .collect()
    }
}

/// The answer to API Gateway.
#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Answer {
    Simple {
        is_authorized: bool,
        context: Map<String, Value>,
    },
    Policy {
        principal_id: String,
        policy_document: Value,
        context: Map<String, Value>,
    },
}
