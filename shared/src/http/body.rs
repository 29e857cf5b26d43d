//! JSON bodies: one object, no repeated keys, no unknown fields, every broken rule reported.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use validator::{Validate, ValidationErrors};

use crate::api::Detail;
use crate::domain::rule::rule;
use crate::error::ApiError;

pub(super) const MAX_BYTES: usize = 16 * 1024;
/// Characters of an unknown field's name that are told.
const MAX_NAME: usize = 64;

/// A body as far as it was understood: nobody knows yet whether it is valid.
pub(super) struct Body<T> {
    pub(super) fields: T,
    unknown: BTreeSet<String>,
}

impl<T: DeserializeOwned + Validate> Body<T> {
    /// # Errors
    /// 413, 415 and `malformed_json`.
    pub(super) fn parse(body: &[u8], content_type: Option<&str>) -> Result<Self, ApiError> {
        if body.len() > MAX_BYTES {
            return Err(ApiError::PayloadTooLarge);
        }
        if !content_type.is_some_and(is_json) {
            return Err(ApiError::UnsupportedMediaType);
        }
        Self::read(body).ok_or(ApiError::MalformedJson)
    }

    /// Nothing for what is not one object without repeated keys: which of two values counts is what parsers disagree
    /// about and attackers use.
    fn read(body: &[u8]) -> Option<Self> {
        // serde would take an array for a struct.
        if !body.trim_ascii_start().starts_with(b"{") {
            return None;
        }
        let mut unknown = BTreeSet::new();
        let mut is_repeated = false;
        let note = |path: serde_ignored::Path<'_>| is_repeated |= !unknown.insert(path.to_string());
        let mut json = serde_json::Deserializer::from_slice(body);
        let fields = serde_ignored::deserialize(&mut json, note).ok()?;
        json.end().ok()?;
        (!is_repeated).then_some(Self { fields, unknown })
    }

    /// The fields, if all of them are valid, by rules that need to know more as well.
    ///
    /// # Errors
    /// `validation_failed`, with every broken rule.
    pub(super) fn validate(
        self,
        more: impl FnOnce(&T) -> Result<(), ValidationErrors>,
    ) -> Result<T, ApiError> {
        let checks = [self.fields.validate(), more(&self.fields)];
        let broken = checks.into_iter().filter_map(Result::err);
        let mut details: Vec<Detail> = broken.flat_map(Detail::all_of).collect();
        details.extend(self.unknown.into_iter().map(|name| {
            let name: String = name.chars().take(MAX_NAME).collect();
            Detail::new(name, rule("unknown_field", "is not a known field"))
        }));
        match details.is_empty() {
            true => Ok(self.fields),
            false => Err(ApiError::ValidationFailed(details)),
        }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::json;
    use serde_with::rust::double_option;

    use super::*;
    use crate::api::Field;
    use crate::domain::username::Username;

    #[derive(Deserialize, Validate)]
    #[serde(rename_all = "camelCase")]
    #[validate(nest_all_fields)]
    struct Fields {
        user_name: Field<Username>,
        other: Option<Field<Username>>,
        flag: Option<Field<bool>>,
        #[serde(default, deserialize_with = "double_option::deserialize")]
        cleared: Option<Option<Field<Username>>>,
    }

    fn read(body: &str) -> Option<Body<Fields>> {
        Body::read(body.as_bytes())
    }

    fn valid(body: &str) -> Result<Fields, ApiError> {
        read(body).expect("an object").validate(|_| Ok(()))
    }

    #[test]
    fn only_one_object_without_repeated_keys_is_taken() {
        assert!(read(r#" {"a":1,"b":{"a":1}} "#).is_some());
        for body in [
            "",
            "[]",
            "1",
            "null",
            "{",
            r#"["ada"]"#,
            r#"{"a":1}{"#,
            r#"{"a":1} x"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"userName":1,"userName":2}"#,
        ] {
            assert!(read(body).is_none(), "{body}");
        }
    }

    #[test]
    fn every_broken_rule_is_reported_at_once() {
        let body = r#"{"other":5,"flag":"yes","cleared":"a","role":"admin"}"#;

        let Err(ApiError::ValidationFailed(details)) = valid(body) else {
            panic!("accepted")
        };

        let details: Vec<_> = details
            .iter()
            .map(|detail| {
                (
                    detail.field.as_str(),
                    detail.code.as_str(),
                    json!(detail.params),
                )
            })
            .collect();
        assert_eq!(
            details,
            [
                ("cleared", "too_short", json!({ "min": 3 })),
                ("flag", "wrong_type", json!({ "expected": "boolean" })),
                ("other", "wrong_type", json!({ "expected": "string" })),
                ("userName", "required", json!({})),
                ("role", "unknown_field", json!({})),
            ]
        );
    }

    #[test]
    fn null_means_absent_or_clears_where_that_is_asked() {
        let absent = valid(r#"{"userName":"ada"}"#).ok().unwrap();
        let null = r#"{"userName":"ada","other":null,"flag":null,"cleared":null}"#;
        let null = valid(null).ok().unwrap();

        assert!(absent.other.is_none() && absent.flag.is_none() && absent.cleared.is_none());
        assert!(null.other.is_none() && null.flag.is_none());
        assert!(matches!(null.cleared, Some(None)));
        assert!(valid(r#"{"userName":null}"#).is_err());
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
            let _ = read(&text);
            let _ = is_json(&text);
        }
    }
}
