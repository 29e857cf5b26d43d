//! What all answers have in common.

use std::borrow::Cow;

use heck::ToLowerCamelCase;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use validator::{ValidationError, ValidationErrors, ValidationErrorsKind};

/// The answer to a request that succeeded.
#[derive(Serialize, JsonSchema)]
pub struct Success<T> {
    /// Always true.
    pub success: bool,
    /// A sentence for people.
    pub message: String,
    /// What the endpoint answers beside them.
    #[serde(flatten)]
    pub fields: T,
}

/// No fields beside the message.
#[derive(Serialize, JsonSchema)]
pub struct Empty {}

/// The answer to a request that failed.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Always false.
    pub success: bool,
    /// The code that a client acts on.
    pub error: &'static str,
    /// A sentence for people.
    pub message: Cow<'static, str>,
    /// Where the code is explained: a path of this API.
    pub docs: String,
    /// Names the request, as the header `X-Request-Id` does.
    pub request_id: String,
    /// The fields that break rules; with `validation_failed` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Vec<Detail>>,
    /// Seconds; with 429 and 503 alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// The name of the limit that was hit; with 429 alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
}

/// A rule that a field breaks.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Detail {
    /// The field's name in the request.
    pub field: String,
    /// The rule, for programs: `too_short`.
    pub code: String,
    /// Its parameters: `{"min": 8}`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub params: Map<String, Value>,
    /// The rule, for people; never the input.
    pub message: String,
}

impl Detail {
    /// A rule that this field breaks.
    pub fn new(field: impl Into<String>, rule: ValidationError) -> Self {
        let params = rule.params.into_iter();
        Self {
            field: field.into(),
            code: rule.code.into_owned(),
            params: params
                .map(|(name, value)| (name.into_owned(), value))
                .collect(),
            message: rule.message.unwrap_or_default().into_owned(),
        }
    }

    /// All broken rules of a request, by field. `validator` knows the fields' names in Rust, clients those in JSON.
    pub fn all_of(errors: ValidationErrors) -> Vec<Self> {
        let fields = errors.into_errors().into_iter();
        let mut details: Vec<Self> = fields
            .flat_map(|(field, kind)| {
                let field = field.to_lower_camel_case();
                let rules = rules(kind).into_iter();
                rules.map(move |rule| Self::new(field.as_str(), rule))
            })
            .collect();
        details.sort_by(|a, b| a.field.cmp(&b.field));
        details
    }
}

/// The rules of a field itself, or of the [`Field`](super::Field) in it.
fn rules(kind: ValidationErrorsKind) -> Vec<ValidationError> {
    match kind {
        ValidationErrorsKind::Field(rules) => rules,
        ValidationErrorsKind::Struct(errors) => {
            errors.into_errors().into_values().flat_map(rules).collect()
        }
        ValidationErrorsKind::List(_) => Vec::new(), // no request has one
    }
}
