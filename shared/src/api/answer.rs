//! The common parts of all answers.

use std::borrow::Cow;

use heck::ToLowerCamelCase;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use validator::{ValidationError, ValidationErrors, ValidationErrorsKind};

/// The answer to a successful request.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}")]
pub struct Success<T> {
    /// Always true.
    pub success: bool,
    /// A message for people.
    pub message: String,
    /// The endpoint's own fields.
    #[serde(flatten)]
    pub fields: T,
}

/// No further fields.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Message")]
pub struct Empty {}

/// The answer to a failed request.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Always false.
    pub success: bool,
    /// The code for programs.
    pub error: &'static str,
    /// A message for people.
    pub message: Cow<'static, str>,
    /// The path of the code's explanation on this API.
    pub docs: String,
    /// The request's identifier, as in the header `X-Request-Id`.
    pub request_id: String,
    /// The broken rules; only with `validation_failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Detail>")]
    pub details: Option<Vec<Detail>>,
    /// The seconds until the next try; only with 429 and 503.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub retry_after: Option<u64>,
    /// The name of the exceeded limit; only with 429.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub limit: Option<String>,
}

/// A broken rule of a field.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Detail {
    /// The field's name in the request.
    pub field: String,
    /// The rule, for programs: `too_short`.
    pub code: String,
    /// The rule's parameters: `{"min": 8}`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub params: Map<String, Value>,
    /// The rule, for people; it never contains the input.
    pub message: String,
}

impl Detail {
    /// Creates a detail from a field and its broken rule.
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

    /// Returns all broken rules of a request, sorted by field. Converts the names of Rust fields, which `validator`
    /// uses, to those in JSON.
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

/// Returns the broken rules of a field, or of the [`Field`](super::Field) in it.
fn rules(kind: ValidationErrorsKind) -> Vec<ValidationError> {
    match kind {
        ValidationErrorsKind::Field(rules) => rules,
        ValidationErrorsKind::Struct(errors) => {
            errors.into_errors().into_values().flat_map(rules).collect()
        }
        ValidationErrorsKind::List(_) => Vec::new(), // no request contains a list
    }
}
