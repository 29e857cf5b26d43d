//! The URL of a user's picture. It is only stored and returned, never fetched.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;
use validator::ValidationError;

use super::characters::is_invisible;
use super::rule::{Parse, check_length, rule};

const MAX_LENGTH: usize = 2048;

/// An absolute `https:` URL of at most 2048 characters, in the normal form of the URL standard: every program reads the
/// same host from it as a person does, and no character in it needs escaping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AvatarUrl(#[schemars(url, length(max = MAX_LENGTH))] String);

impl Parse for AvatarUrl {
    fn parse(text: &str) -> Result<Self, ValidationError> {
        check_length(text, 0, MAX_LENGTH)?;
        // The parser drops white space and control characters, so texts that contain them are refused.
        let is_clean = !text.chars().any(|c| is_invisible(c) || c.is_whitespace());
        let url = Url::parse(text)
            .ok()
            .filter(|_| is_clean && names_a_host(text));
        let url = url.filter(|url| url.scheme() == "https" && url.has_host());
        let url = url.ok_or_else(|| rule("invalid_url", "must be an https: URL"))?;
        check_length(url.as_str(), 0, MAX_LENGTH)?; // escaping makes it longer
        Ok(Self(url.into()))
    }
}

/// Returns whether a host follows `://` directly, without user information. The parser takes `https:evil`,
/// `https:\\evil` and `https:///evil` for `https://evil`, which other programs do not. The part before an `@` looks
/// like the host, and could be a password that everybody can read.
fn names_a_host(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else {
        return false;
    };
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    end > 0 && !rest[..end].contains('@')
}

impl AvatarUrl {
    /// Returns the URL.
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
            ("https://example.com/a.png", "https://example.com/a.png"),
            ("HTTPS://Example.com", "https://example.com/"),
            ("https://[::1]/x?y=z#f", "https://[::1]/x?y=z#f"),
            ("https://example.com:443/@ada", "https://example.com/@ada"),
            ("https://example.com/?a@b", "https://example.com/?a@b"),
            (
                "https://bücher.example/ü",
                "https://xn--bcher-kva.example/%C3%BC",
            ),
            (
                r#"https://x.example/"><script>"#,
                "https://x.example/%22%3E%3Cscript%3E",
            ),
            ("https://x.example/a/../b", "https://x.example/b"),
        ] {
            assert_eq!(AvatarUrl::parse(typed).unwrap().as_str(), kept);
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
            "https:evil",
            "https:/evil.example",
            "https:\\\\evil.example",
            "https:///evil.example",
            "https://\\evil.example",
            "https://user:pw@host.example/",
            "https://user@host.example/",
            "https://@host.example/",
            "https://good.example@evil.example\\x",
            "https://evil\u{200B}.example",
            "https://example.com/\u{202E}gnp.a",
        ] {
            assert!(AvatarUrl::parse(bad).is_err(), "{bad:?}");
        }
        let long = format!("https://example.com/{}", "a".repeat(2048 - 20));
        assert!(AvatarUrl::parse(&long).is_ok());
        assert!(AvatarUrl::parse(&format!("{long}a")).is_err());
        let grows = format!("https://example.com/{}", "ü".repeat(500));
        assert_eq!(AvatarUrl::parse(&grows).unwrap_err().code, "too_long");
    }
}
