//! The name a person wants to be called by.

use serde::{Deserialize, Serialize};

/// 1–100 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PersonName(String);

impl PersonName {
    /// Parses what a client sent; white space around it is dropped.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let name = text.trim();
        if !(1..=100).contains(&name.chars().count()) {
            return Err("must be 1 to 100 characters long");
        }
        if name.chars().any(char::is_control) {
            return Err("must not contain control characters");
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_by_example() {
        for (typed, kept) in [
            ("Ada L.", "Ada L."),
            (" 阿达 ", "阿达"),
            ("<script>", "<script>"),
        ] {
            assert_eq!(PersonName::parse(typed).unwrap().as_str(), kept);
        }
        assert!(PersonName::parse(&"é".repeat(100)).is_ok());
        for bad in ["", "   ", "Ada\r\nBcc: x", "a\u{7}b", "a\u{85}b"] {
            assert!(PersonName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(PersonName::parse(&"é".repeat(101)).is_err());
    }
}
