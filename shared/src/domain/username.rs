//! Usernames: unique without regard to case, shown as typed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::ValidationError;

use super::rule::{Parse, check_length, rule};

const MIN_LENGTH: usize = 3;
const MAX_LENGTH: usize = 20;

/// 3–20 characters of `A–Z a–z 0–9 _`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Username(
    #[schemars(length(min = MIN_LENGTH, max = MAX_LENGTH), regex(pattern = "^[A-Za-z0-9_]+$"))]
    String,
);

impl Parse for Username {
    fn parse(text: &str) -> Result<Self, ValidationError> {
        check_length(text, MIN_LENGTH, MAX_LENGTH)?;
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        match text.bytes().all(is_allowed) {
            true => Ok(Self(text.to_owned())),
            false => Err(rule(
                "invalid_characters",
                "may contain only letters A-Z and a-z, digits and underscores",
            )),
        }
    }
}

/// Names that people would take for the service itself, or that frontends use as paths; without underscores.
const RESERVED: [&str; 40] = [
    "abuse",
    "account",
    "accounts",
    "admin",
    "administrator",
    "anonymous",
    "api",
    "auth",
    "billing",
    "contact",
    "deleted",
    "everyone",
    "help",
    "helpdesk",
    "hostmaster",
    "info",
    "legal",
    "login",
    "logout",
    "mailer",
    "me",
    "moderator",
    "noreply",
    "nobody",
    "null",
    "official",
    "owner",
    "postmaster",
    "privacy",
    "register",
    "root",
    "security",
    "settings",
    "signin",
    "signup",
    "staff",
    "support",
    "system",
    "undefined",
    "webmaster",
];

/// A username for a new claim; reserved names are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewUsername(Username);

impl Parse for NewUsername {
    fn parse(text: &str) -> Result<Self, ValidationError> {
        let username = Username::parse(text)?;
        let bare = username.canonical().replace('_', "");
        match RESERVED.contains(&bare.as_str()) {
            true => Err(rule("reserved", "is reserved")),
            false => Ok(Self(username)),
        }
    }
}

impl AsRef<Username> for NewUsername {
    fn as_ref(&self) -> &Username {
        &self.0
    }
}

impl From<NewUsername> for Username {
    fn from(new: NewUsername) -> Self {
        new.0
    }
}

impl Username {
    /// Returns the username as typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the canonical form, shared by all spellings of a username.
    pub fn canonical(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rules_by_example() {
        for good in ["ada", "Ada_L", "A1_", "a2345678901234567890"] {
            assert_eq!(Username::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "ab",
            "a23456789012345678901",
            "a b",
            "ada!",
            "адa",
            " ada",
            "a@b.c",
            "ad\u{0}",
        ] {
            assert!(Username::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_reserved_nobody_takes_anew() {
        for reserved in ["admin", "Support", "no_reply", "_root_", "NULL"] {
            assert_eq!(NewUsername::parse(reserved).unwrap_err().code, "reserved");
            assert!(Username::parse(reserved).is_ok(), "it may be there already");
        }
        for free in ["administer", "ada_admin", "root2"] {
            assert!(NewUsername::parse(free).is_ok(), "{free}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_keeps_the_rules(text in ".{0,24}") {
            if let Ok(username) = Username::parse(&text) {
                prop_assert!((3..=20).contains(&username.as_str().len()));
                prop_assert!(username.canonical().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
            }
        }
    }
}
