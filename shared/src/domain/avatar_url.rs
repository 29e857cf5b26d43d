//! Where a user's picture is. It is only stored and handed out, never fetched.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;
use validator::ValidationError;

use super::rule::{Parse, check_length, rule};

const MAX_LENGTH: usize = 2048;

/// An absolute `https:` URL of at most 2048 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AvatarUrl(#[schemars(url, length(max = MAX_LENGTH))] String);

impl Parse for AvatarUrl {
    fn parse(text: &str) -> Result<Self, ValidationError> {
        check_length(text, 0, MAX_LENGTH)?;
        // The parser drops white space and control characters; what is kept must not have had any.
        let is_clean = !text.chars().any(|c| c.is_control() || c.is_whitespace());
        match Url::parse(text) {
            Ok(url) if is_clean && url.scheme() == "https" && url.has_host() => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(rule("invalid_url", "must be an https: URL")),
        }
    }
}

impl AvatarUrl {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_by_example() {
        for good in [
            "https://example.com/a.png",
            "HTTPS://example.com",
            "https://[::1]/x?y=z#f",
        ] {
            assert_eq!(AvatarUrl::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "a.png",
            "/a.png",
            "http://example.com/a.png",
            "javascript:alert(1)",
            "data:image/png;base64,x",
            "https://",
            " https://example.com",
            "https://exa\nmple.com",
        ] {
            assert!(AvatarUrl::parse(bad).is_err(), "{bad:?}");
        }
        let long = format!("https://example.com/{}", "a".repeat(2048 - 20));
        assert!(AvatarUrl::parse(&long).is_ok());
        assert!(AvatarUrl::parse(&format!("{long}a")).is_err());
    }
}
