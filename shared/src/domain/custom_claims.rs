//! Claims of an application's own. An operator sets them in a user's record, and access tokens carry them.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The maximum number of names.
const MAX_NAMES: usize = 20;
/// The maximum length of a name in bytes.
const MAX_NAME_BYTES: usize = 64;
/// The maximum size of all claims, in bytes of JSON: each request carries them.
const MAX_BYTES: usize = 1000;

/// The claims in a user's record, in the map `claims`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum CustomClaims {
    /// Claims within the limits.
    Valid(BTreeMap<String, Value>),
    /// Claims that an operator must correct. They go into no token: a part of them could mean something else.
    Invalid,
}

impl CustomClaims {
    /// Returns the claims if they are within the limits: at most 20 names of 64 letters, digits, `_`, `-`, `.`, `:` and
    /// `/` that begin with a letter, and 1,000 bytes of JSON.
    pub fn new(claims: BTreeMap<String, Value>) -> Self {
        let is_within_limits = claims.len() <= MAX_NAMES
            && claims.keys().all(|name| is_name(name))
            && serde_json::to_string(&claims).is_ok_and(|text| text.len() <= MAX_BYTES);
        match is_within_limits {
            true => Self::Valid(claims),
            false => Self::Invalid,
        }
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Valid(claims) if claims.is_empty())
    }
}

fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte);
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(is_allowed)
}

impl Default for CustomClaims {
    fn default() -> Self {
        Self::Valid(BTreeMap::new())
    }
}

impl<'de> Deserialize<'de> for CustomClaims {
    /// Reads any value: a mistake in the claims must not make the record unreadable.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Stored {
            Map(BTreeMap<String, Value>),
            Other(IgnoredAny),
        }
        Ok(match Stored::deserialize(deserializer)? {
            Stored::Map(claims) => Self::new(claims),
            Stored::Other(_) => Self::Invalid,
        })
    }
}

/// The name under which access tokens carry the claims.
#[derive(Clone, Debug)]
pub struct Namespace(String);

impl Default for Namespace {
    /// `claims`.
    fn default() -> Self {
        Self("claims".to_owned())
    }
}

impl Namespace {
    /// Accepts a name of the same form as those of claims, a URL for instance, but none to which tokens, or answers about
    /// tokens (RFC 7662, 2.2), give a meaning.
    pub fn parse(name: &str) -> Option<Self> {
        const TAKEN: [&str; 20] = [
            "iss",
            "aud",
            "sub",
            "exp",
            "iat",
            "nbf",
            "jti",
            "userId",
            "sid",
            "role",
            "type",
            "auth_time",
            "amr",
            "acr",
            "azp",
            "scope",
            "active",
            "client_id",
            "token_type",
            "username",
        ];
        let is_free = is_name(name) && !TAKEN.contains(&name);
        is_free.then(|| Self(name.to_owned()))
    }

    /// Returns the claims as a token carries them: under this name, or not at all if there are none.
    pub fn wrap(&self, claims: &CustomClaims) -> BTreeMap<String, Value> {
        match claims {
            CustomClaims::Valid(claims) if !claims.is_empty() => {
                let claims = claims.clone().into_iter().collect();
                BTreeMap::from([(self.0.clone(), Value::Object(claims))])
            }
            _ => BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> CustomClaims {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn claims_within_the_limits_are_kept_as_they_are() {
        let longest = format!("a{}", "b".repeat(63));
        let value = json!({
            "plan": "pro", "seats": 3, "beta": true, "teams": ["one", "two"], "nothing": null,
            "https://example.com/a": { "deep": 1.5 }, longest: "",
        });

        let CustomClaims::Valid(claims) = read(value.clone()) else {
            panic!("invalid")
        };

        assert_eq!(json!(claims), value);
    }

    #[test]
    fn beyond_the_limits_they_are_invalid_and_readable_all_the_same() {
        let many = |number: usize| {
            let names = (0..number).map(|number| (format!("a{number}"), json!(1)));
            Value::Object(names.collect())
        };
        // `{"a":""}` and the text.
        let long = |length: usize| json!({ "a": "x".repeat(length - 8) });
        assert!(matches!(read(many(20)), CustomClaims::Valid(_)));
        assert!(matches!(read(long(1000)), CustomClaims::Valid(_)));
        for value in [
            many(21),
            long(1001),
            json!({ "": 1 }),
            json!({ "1a": 1 }),
            json!({ "a b": 1 }),
            json!({ "a\"": 1 }),
            json!({ "é": 1 }),
            json!({ format!("a{}", "b".repeat(64)): 1 }),
            json!("pro"),
            json!(["pro"]),
            json!(null),
            json!(7),
        ] {
            assert_eq!(read(value.clone()), CustomClaims::Invalid, "{value}");
        }
    }

    #[test]
    fn a_token_carries_them_under_the_namespace_and_no_empty_map() {
        let namespace = Namespace::parse("https://example.com/claims").unwrap();
        let claims = read(json!({ "plan": "pro" }));

        let wrapped = json!(namespace.wrap(&claims));

        assert_eq!(
            wrapped,
            json!({ "https://example.com/claims": { "plan": "pro" } })
        );
        assert_eq!(json!(namespace.wrap(&CustomClaims::default())), json!({}));
        assert_eq!(json!(namespace.wrap(&CustomClaims::Invalid)), json!({}));
    }

    #[test]
    fn a_namespace_replaces_no_other_claim() {
        for name in ["role", "sub", "exp", "amr", "active", "", "a b", "7"] {
            assert!(Namespace::parse(name).is_none(), "{name}");
        }
        assert!(Namespace::parse(&Namespace::default().0).is_some());
    }
}
