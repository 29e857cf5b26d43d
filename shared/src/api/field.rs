//! The fields of a request. Deserializing one never fails, so that one answer can name all that are broken.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use validator::{Validate, ValidationError, ValidationErrors};

use crate::domain::password::{Owner, Password, Policy};
use crate::domain::rule::{Parse, rule};

/// A field of a request: its value, or the rule that it breaks. One that is missing or null breaks `required`; where it
/// may be, it is an `Option<Field<T>>`, read by [`optional`].
#[derive(Debug)]
pub struct Field<T>(Result<T, ValidationError>);

impl<T> Field<T> {
    /// The value, as long as it is not known whether the request is valid.
    pub fn as_ref(&self) -> Option<&T> {
        self.0.as_ref().ok()
    }

    /// The value.
    ///
    /// # Panics
    /// For a field of a request that was not validated: `Request::json` hands out none.
    #[expect(clippy::expect_used, reason = "said in `Panics`")]
    pub fn into_inner(self) -> T {
        self.0.expect("a valid field")
    }
}

impl Field<Password> {
    /// Checks a new password, in the field of this name. What is no password is broken already.
    ///
    /// # Errors
    /// Every rule of the policy that it breaks.
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

/// What a JSON value is parsed to.
pub trait FromJson: Sized {
    /// Parses a value that is not null.
    ///
    /// # Errors
    /// The rule that is broken.
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

/// A field that is missing and must not be.
pub(crate) fn required() -> ValidationError {
    rule("required", "is required")
}

fn wrong_type(expected: &str, message: &'static str) -> ValidationError {
    let mut rule = rule("wrong_type", message);
    rule.add_param("expected".into(), &expected);
    rule
}

impl<'de, T: FromJson> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Option::deserialize(deserializer)?; // nothing, too, for a field that is missing
        Ok(Self(value.ok_or_else(required).and_then(T::from_json)))
    }
}

/// A field that may be absent. A form sends an empty text for what was not filled in.
pub(crate) fn optional<'de, D, T>(deserializer: D) -> Result<Option<Field<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: FromJson,
{
    clearable(deserializer).map(Option::flatten)
}

/// The same where null means something else than absence.
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
