//! JSON bodies: one object, no repeated keys, no unknown fields, every broken rule reported.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::Request;
use crate::error::{ApiError, Detail};

pub(super) const LARGEST_BODY: usize = 16 * 1024;

/// The fields of a body, taken one by one; what is left at the end is unknown.
pub struct Fields {
    fields: Map<String, Value>,
    broken: Vec<Detail>,
}

impl Fields {
    pub(super) fn none() -> Self {
        Self {
            fields: Map::new(),
            broken: Vec::new(),
        }
    }

    pub(super) fn of(request: &Request) -> Result<Self, ApiError> {
        if request.body().len() > LARGEST_BODY {
            return Err(ApiError::PayloadTooLarge);
        }
        if !request
            .header(&http::header::CONTENT_TYPE)
            .is_some_and(is_json)
        {
            return Err(ApiError::UnsupportedMediaType);
        }
        let object = serde_json::from_slice(request.body());
        let Object(fields) = object.map_err(|_| ApiError::MalformedJson)?;
        Ok(Self {
            fields,
            broken: Vec::new(),
        })
    }

    pub(super) fn parse<T>(
        mut self,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Result<T, ApiError> {
        let value = read(&mut self);
        for name in self.fields.keys() {
            self.broken.push(Detail {
                field: name.chars().take(64).collect(),
                message: "is not a known field".to_owned(),
            });
        }
        match value {
            Some(value) if self.broken.is_empty() => Ok(value),
            None if self.broken.is_empty() => Err(ApiError::Internal(
                "a field was refused without a reason".into(),
            )),
            _ => Err(ApiError::ValidationFailed(self.broken)),
        }
    }

    /// A field whose rule is broken.
    pub fn refuse(&mut self, field: &str, message: impl Into<String>) {
        self.broken.push(Detail {
            field: field.to_owned(),
            message: message.into(),
        });
    }

    /// A string that must be there.
    pub fn required<T, E: Rules>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match self.optional(name, parse) {
            Some(None) => {
                self.refuse(name, "is required");
                None
            }
            other => other?,
        }
    }

    /// A string that may be absent; null means absent. `None` is a field that was refused.
    pub fn optional<T, E: Rules>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Option<T>> {
        match self.clearable(name, parse)? {
            Change::To(value) => Some(Some(value)),
            Change::Clear | Change::Keep => Some(None),
        }
    }

    /// A string to change, where null clears and absent keeps.
    pub fn clearable<T, E: Rules>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Change<T>> {
        match self.fields.remove(name) {
            None => Some(Change::Keep),
            Some(Value::Null) => Some(Change::Clear),
            Some(Value::String(text)) => match parse(&text) {
                Ok(value) => Some(Change::To(value)),
                Err(rules) => {
                    rules.each(|rule| self.refuse(name, rule));
                    None
                }
            },
            Some(_) => {
                self.refuse(name, "must be a string");
                None
            }
        }
    }

    /// `true` or `false`; absent is false.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        match self.fields.remove(name) {
            None | Some(Value::Null) => Some(false),
            Some(Value::Bool(value)) => Some(value),
            Some(_) => {
                self.refuse(name, "must be true or false");
                None
            }
        }
    }
}

/// What a request says of a field that can be cleared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// Not mentioned.
    Keep,
    /// `null`.
    Clear,
    /// A new value.
    To(T),
}

impl<T: Clone> Change<T> {
    /// Does what the request says.
    pub fn apply(&self, field: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *field = None,
            Self::To(value) => *field = Some(value.clone()),
        }
    }
}

/// One broken rule or several.
pub trait Rules {
    /// Hands over each.
    fn each(self, report: impl FnMut(String));
}

impl Rules for &str {
    fn each(self, mut report: impl FnMut(String)) {
        report(self.to_owned());
    }
}

impl Rules for Vec<String> {
    fn each(self, report: impl FnMut(String)) {
        self.into_iter().for_each(report);
    }
}

fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let is_json = parts
        .next()
        .is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"));
    let is_utf8 = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    };
    is_json && parts.all(is_utf8)
}

/// A JSON object; a repeated key is an error: which of the two values counts is what parsers disagree
/// about and attackers use.
pub(super) struct Object(pub(super) Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Object, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if fields.contains_key(&name) {
                return Err(A::Error::custom("a repeated key"));
            }
            fields.insert(name, access.next_value()?);
        }
        Ok(Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object(text: &str) -> Option<Map<String, Value>> {
        serde_json::from_str::<Object>(text)
            .ok()
            .map(|Object(fields)| fields)
    }

    fn fields(text: &str) -> Fields {
        Fields {
            fields: object(text).unwrap(),
            broken: Vec::new(),
        }
    }

    fn short(text: &str) -> Result<String, &'static str> {
        if text.len() < 4 {
            Ok(text.to_owned())
        } else {
            Err("is long")
        }
    }

    #[test]
    fn only_one_object_without_repeated_keys_is_taken() {
        assert!(object(r#"{"a":1,"b":{"a":1}}"#).is_some());
        for text in [
            "",
            "[]",
            "1",
            "null",
            "{",
            r#"{"a":1}{"#,
            r#"{"a":1} x"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
        ] {
            assert!(object(text).is_none(), "{text}");
        }
    }

    #[test]
    fn every_broken_rule_is_reported_at_once() {
        let result = fields(r#"{"a":"toolong","b":5,"d":"yes","role":"admin"}"#).parse(|fields| {
            let (a, b, c, d) = (
                fields.required("a", short),
                fields.optional("b", short),
                fields.required("c", short),
                fields.flag("d"),
            );
            Some((a?, b?, c?, d?))
        });

        let Err(ApiError::ValidationFailed(details)) = result else {
            panic!("accepted")
        };
        let details: Vec<_> = details
            .iter()
            .map(|detail| (detail.field.as_str(), detail.message.as_str()))
            .collect();
        assert_eq!(
            details,
            [
                ("a", "is long"),
                ("b", "must be a string"),
                ("c", "is required"),
                ("d", "must be true or false"),
                ("role", "is not a known field")
            ]
        );
    }

    #[test]
    fn null_means_absent_or_clears_where_that_is_asked() {
        assert_eq!(
            fields(r#"{"a":null}"#)
                .parse(|fields| fields.optional("a", short))
                .unwrap(),
            None
        );
        assert_eq!(
            fields(r#"{"a":null}"#)
                .parse(|fields| fields.clearable("a", short))
                .unwrap(),
            Change::Clear
        );
        assert_eq!(
            fields("{}")
                .parse(|fields| fields.clearable("a", short))
                .unwrap(),
            Change::Keep
        );
        assert!(
            fields(r#"{"a":null}"#)
                .parse(|fields| fields.required("a", short))
                .is_err()
        );
    }

    #[test]
    fn content_types_by_example() {
        for good in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
            "application/json; x=y",
        ] {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "application/jsonp",
            "application/x-www-form-urlencoded",
            "application/json; charset=latin1",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in any::<String>()) {
            let _ = object(&text);
            let _ = is_json(&text);
        }
    }
}
