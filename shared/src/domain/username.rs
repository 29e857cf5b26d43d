//! Usernames: unique without regard to case, shown as typed.

use serde::{Deserialize, Serialize};

/// 3–20 characters of `A–Z a–z 0–9 _`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Username(String);

impl Username {
    /// Parses what a client sent.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !(3..=20).contains(&text.chars().count()) {
            return Err("must be 3 to 20 characters long");
        }
        if !text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return Err("may contain only letters A-Z and a-z, digits and underscores");
        }
        Ok(Self(text.to_owned()))
    }

    /// As typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What two spellings of one username share.
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
