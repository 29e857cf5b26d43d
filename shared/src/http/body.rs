//! JSON bodies: one object without repeated keys and unknown fields; every broken rule is reported.

use std::collections::BTreeSet;

use secrecy::SecretString;
use serde::de::DeserializeOwned;
use url::form_urlencoded;
use validator::{Validate, ValidationErrors};

use crate::api::Detail;
use crate::domain::rule::rule;
use crate::error::ApiError;

pub(crate) const MAX_BYTES: usize = 16 * 1024;
/// The maximum number of characters reported of an unknown field's name.
const MAX_NAME: usize = 64;
/// The maximum number of unknown fields reported: an answer must not become larger than the body that caused it.
const MAX_UNKNOWN: usize = 10;
/// The media type of forms.
const FORM: &str = "application/x-www-form-urlencoded";
/// Some programs begin every UTF-8 text with it; parsers may ignore it (RFC 8259, 8.1).
const BYTE_ORDER_MARK: &[u8] = "\u{FEFF}".as_bytes();

/// A parsed body that is not validated yet.
pub(crate) struct Body<T> {
    pub(crate) fields: T,
    unknown: BTreeSet<String>,
}

impl<T: DeserializeOwned + Validate> Body<T> {
    /// Parses a body.
    ///
    /// # Errors
    /// `payload_too_large`, `unsupported_media_type` and `malformed_json`.
    pub(crate) fn parse(body: &[u8], content_type: Option<&str>) -> Result<Self, ApiError> {
        if body.len() > MAX_BYTES {
            return Err(ApiError::PayloadTooLarge);
        }
        if !content_type.is_some_and(is_json) {
            return Err(ApiError::UnsupportedMediaType);
        }
        Self::read(body).ok_or(ApiError::MalformedJson)
    }

    /// Returns a body without any fields.
    ///
    /// # Errors
    /// `malformed_json`, only if the type cannot be read without its fields.
    pub(crate) fn absent() -> Result<Self, ApiError> {
        Self::read(b"{}").ok_or(ApiError::MalformedJson)
    }

    /// Parses a body; `None` unless it is one object without repeated keys. Parsers disagree about which of two values
    /// counts, and attackers exploit that.
    fn read(body: &[u8]) -> Option<Self> {
        let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
        // serde would accept an array for a struct.
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

    /// Returns the fields if all of them are valid, also by the rules of `more`, which need further knowledge.
    ///
    /// # Errors
    /// `validation_failed`, with every broken rule.
    pub(crate) fn validate(
        self,
        more: impl FnOnce(&T) -> Result<(), ValidationErrors>,
    ) -> Result<T, ApiError> {
        let checks = [self.fields.validate(), more(&self.fields)];
        let broken = checks.into_iter().filter_map(Result::err);
        let mut details: Vec<Detail> = broken.flat_map(Detail::all_of).collect();
        details.extend(self.unknown.into_iter().take(MAX_UNKNOWN).map(|name| {
            let name: String = name.chars().take(MAX_NAME).collect();
            Detail::new(name, rule("unknown_field", "is not a known field"))
        }));
        match details.is_empty() {
            true => Ok(self.fields),
            false => Err(ApiError::ValidationFailed(details)),
        }
    }
}

/// Returns a parameter of a form; `None` if the body is no form, or the parameter is not there exactly once.
///
/// # Errors
/// `payload_too_large`.
pub(crate) fn form_parameter(
    body: &[u8],
    content_type: Option<&str>,
    name: &str,
) -> Result<Option<SecretString>, ApiError> {
    if body.len() > MAX_BYTES {
        return Err(ApiError::PayloadTooLarge);
    }
    let media_type = content_type.and_then(|content_type| content_type.split(';').next());
    let is_form = media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(FORM));
    let mut values = form_urlencoded::parse(body).filter(|(known, _)| known == name);
    let found = values.next().filter(|(_, value)| !value.is_empty());
    let found = found.filter(|_| is_form && values.next().is_none());
    Ok(found.map(|(_, value)| SecretString::from(value.into_owned())))
}

/// Returns whether a body is absent: some clients write null if they have no body to send.
pub(crate) fn is_absent(body: &[u8]) -> bool {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    matches!(body.trim_ascii(), b"" | b"null")
}

fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let is_json = parts
        .next()
        .is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"));
    let is_utf8 = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if name.trim_end().eq_ignore_ascii_case("charset") => {
            let charset = value.trim_start().trim_matches('"');
            // `utf8` is not a registered name, but common.
            let names = ["utf-8", "utf8"];
            names.iter().any(|name| charset.eq_ignore_ascii_case(name))
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

    use super::*;
    use crate::api::{Field, clearable, optional};
    use crate::domain::username::Username;

    #[derive(Deserialize, Validate)]
    #[serde(rename_all = "camelCase")]
    #[validate(nest_all_fields)]
    struct Fields {
        user_name: Field<Username>,
        #[serde(default, deserialize_with = "optional")]
        other: Option<Field<Username>>,
        #[serde(default, deserialize_with = "optional")]
        flag: Option<Field<bool>>,
        #[serde(default, deserialize_with = "clearable")]
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
    fn an_empty_text_means_absent_where_a_field_may_be() {
        let empty = r#"{"userName":"ada","other":"","flag":"","cleared":""}"#;
        let empty = valid(empty).ok().unwrap();

        assert!(empty.other.is_none() && empty.flag.is_none() && empty.cleared.is_none());
        assert!(valid(r#"{"userName":""}"#).is_err());
        assert!(valid(r#"{"userName":"ada","other":" "}"#).is_err());
    }

    #[test]
    fn a_byte_order_mark_is_ignored_once_and_only_at_the_start() {
        assert!(read("\u{FEFF}{}").is_some() && read("\u{FEFF} {}").is_some());
        for body in [
            "\u{FEFF}\u{FEFF}{}",
            " \u{FEFF}{}",
            "{}\u{FEFF}",
            "\u{FEFF}",
        ] {
            assert!(read(body).is_none(), "{body:?}");
        }
    }

    #[test]
    fn null_and_white_space_are_no_body() {
        for body in ["", " ", "null", " null\n", "\u{FEFF}", "\u{FEFF}null"] {
            assert!(is_absent(body.as_bytes()), "{body:?}");
        }
        for body in [
            "{}",
            "nul",
            "null null",
            "\"null\"",
            "NULL",
            "0",
            "false",
            "[null]",
        ] {
            assert!(!is_absent(body.as_bytes()), "{body:?}");
        }
    }

    #[test]
    fn ten_unknown_fields_are_told() {
        let fields: Vec<String> = (0..2000).map(|n| format!("\"f{n:04}\":1")).collect();
        let body = format!("{{\"userName\":\"ada\",{}}}", fields.join(","));

        let Err(ApiError::ValidationFailed(details)) = valid(&body) else {
            panic!("accepted")
        };

        assert_eq!(details.len(), 10);
        // Repetition is detected with more unknown fields than are reported.
        assert!(read(&body.replace("f1999", "f0000")).is_none());
    }

    #[test]
    fn content_types_by_example() {
        for good in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
            "application/json; charset=utf8",
            "application/json;charset=\"UTF8\"",
            "application/json; charset = utf-8",
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
            "application/json; charset=utf-16",
            "application/json; charset=utf",
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
