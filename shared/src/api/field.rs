//! The fields of a request. Deserializing a field never fails, so that one answer can name all invalid fields.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use validator::{Validate, ValidationError, ValidationErrors};

use crate::domain::password::{Owner, Password, Policy};
use crate::domain::rule::{Parse, rule};

/// A field of a request: its value, or the rule that it breaks. A missing or null field breaks `required`; an optional
/// one is an `Option<Field<T>>`, read by [`optional`].
#[derive(Debug)]
pub struct Field<T>(Result<T, ValidationError>);

impl<T> Field<T> {
    /// Returns the value; `None` if the field is invalid. For checks during validation.
    pub fn as_ref(&self) -> Option<&T> {
        self.0.as_ref().ok()
    }

    /// Returns the value.
    ///
    /// # Panics
    /// If the field is invalid; `Request::json` only returns validated requests.
    #[expect(clippy::expect_used, reason = "said in `Panics`")]
    pub fn into_inner(self) -> T {
        self.0.expect("a valid field")
    }
}

impl Field<Password> {
    /// Checks a new password in the field `name`. A value that is no password at all has broken a rule already.
    ///
    /// # Errors
    /// Every rule of the policy that the password breaks.
    pub fn check_policy(
        &self,
        name: &'static str,
        policy: &Policy,
        owner: Owner<'_>,
    ) -> Result<(), ValidationErrors> {
        let rules = self.as_ref().map(|new| policy.broken_rules(new, owner));
        let mut errors = ValidationErrors::new();
        for rule in rules.unwrap_or_default() {
            errors.add(name, rule);
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }
}

/// A type that is parsed from a JSON value.
pub trait FromJson: Sized {
    /// Parses a value that is not null.
    ///
    /// # Errors
    /// The broken rule.
    fn from_json(value: Value) -> Result<Self, ValidationError>;
}

impl<T: Parse> FromJson for T {
    fn from_json(value: Value) -> Result<Self, ValidationError> {
        match value {
            Value::String(text) => Self::parse(&text),
            _ => Err(wrong_type("string", "must be a string")),
        }
    }
}

impl FromJson for bool {
    fn from_json(value: Value) -> Result<Self, ValidationError> {
        let value = value.as_bool();
        value.ok_or_else(|| wrong_type("boolean", "must be true or false"))
    }
}

/// Returns the rule broken by a missing field that is required.
pub(crate) fn required() -> ValidationError {
    rule("required", "is required")
}

pub(super) fn wrong_type(expected: &str, message: &'static str) -> ValidationError {
    let mut rule = rule("wrong_type", message);
    rule.add_param("expected".into(), &expected);
    rule
}

impl<'de, T: FromJson> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Option::deserialize(deserializer)?; // `None` for a missing field as well
        Ok(Self(value.ok_or_else(required).and_then(T::from_json)))
    }
}

/// Deserializes a field that may be absent. An empty text counts as absent: forms send it for inputs left empty.
pub(crate) fn optional<'de, D, T>(deserializer: D) -> Result<Option<Field<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: FromJson,
{
    clearable(deserializer).map(Option::flatten)
}

/// Deserializes a field that may be absent, and for which null means removal: `Some(None)`.
pub(crate) fn clearable<'de, D, T>(deserializer: D) -> Result<Option<Option<Field<T>>>, D::Error>
where
    D: Deserializer<'de>,
    T: FromJson,
{
    let value = Value::deserialize(deserializer)?;
    Ok(match value {
        Value::Null => Some(None),
        Value::String(text) if text.is_empty() => None,
        value => Some(Some(Field(T::from_json(value)))),
    })
}

impl<T> Validate for Field<T> {
    fn validate(&self) -> Result<(), ValidationErrors> {
        let Err(rule) = &self.0 else { return Ok(()) };
        let mut errors = ValidationErrors::new();
        errors.add("", rule.clone());
        Err(errors)
    }
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
