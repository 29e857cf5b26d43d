//! The name a person wants to be called by.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::{ValidateNonControlCharacter, ValidationError};

use super::rule::{Parse, check_length, rule};

const MAX_LENGTH: usize = 100;

/// 1–100 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct PersonName(#[schemars(length(min = 1, max = MAX_LENGTH))] String);

impl Parse for PersonName {
    /// White space around it is dropped.
    fn parse(text: &str) -> Result<Self, ValidationError> {
        let name = text.trim();
        check_length(name, 1, MAX_LENGTH)?;
        match name.validate_non_control_character() {
            true => Ok(Self(name.to_owned())),
            false => Err(rule(
                "control_characters",
                "must not contain control characters",
            )),
        }
    }
}

impl PersonName {
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
