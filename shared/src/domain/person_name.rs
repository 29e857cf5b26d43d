//! The display name of a person.

use std::net::Ipv4Addr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use validator::{ValidateNonControlCharacter, ValidationError};

use super::characters::{hides_something, is_visible};
use super::rule::{Parse, check_length, rule, too_short};

const MAX_LENGTH: usize = 100;
/// Endings that no registry assigns (RFC 2606, RFC 6762, RFC 7686); a name with one of them is refused like any other
/// host name.
const RESERVED_ENDS: [&str; 6] = ["example", "test", "invalid", "localhost", "local", "onion"];
const TITLES: [&str; 7] = ["Dr", "Mr", "Mrs", "Ms", "Prof", "Sr", "St"];

/// 1–100 visible characters, without a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct PersonName(#[schemars(length(min = 1, max = MAX_LENGTH))] String);

impl Parse for PersonName {
    /// Trims the name.
    fn parse(text: &str) -> Result<Self, ValidationError> {
        let name = text.trim();
        check_length(name, 1, MAX_LENGTH)?;
        if !name.validate_non_control_character() {
            let message = "must not contain control characters";
            return Err(rule("control_characters", message));
        }
        // Invisible characters reorder the text beside a name, or make two names look alike.
        if hides_something(name) {
            let message = "must not contain invisible characters";
            return Err(rule("invisible_characters", message));
        }
        if !name.chars().any(is_visible) {
            return Err(too_short(1));
        }
        // Mail programs would turn it into a link, in a mail signed by this service.
        if contains_link(name) {
            let message = "must not contain a link or the name of a host";
            return Err(rule("contains_link", message));
        }
        Ok(Self(name.to_owned()))
    }
}

impl PersonName {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns whether a program would make a link of some part of the name. A dot within a word is not enough (`Dr.Who`,
/// `J.R.R.`): the text after the last dot must be a top-level domain, or the word must continue like a URL or an email
/// address.
fn contains_link(name: &str) -> bool {
    let name = name.nfkc().collect::<String>().replace('。', ".");
    if name.contains("://") {
        return true;
    }
    let is_of_host = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut rest = name.as_str();
    while let Some(start) = rest.find(is_of_host) {
        let before = rest[..start].chars().next_back();
        let word = &rest[start..];
        let end = word.find(|c| !is_of_host(c)).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        if is_host(word, before, after) {
            return true;
        }
        rest = after;
    }
    false
}

fn is_host(word: &str, before: Option<char>, after: &str) -> bool {
    let has_full_stop = word.ends_with('.');
    let typed = word.trim_matches('.');
    let word = typed.to_lowercase();
    if word.starts_with("www.") || word.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    let Some((_, end)) = word.rsplit_once('.') else {
        return false;
    };
    let is_port = || {
        after
            .strip_prefix(':')
            .is_some_and(|port| port.starts_with(|c: char| c.is_ascii_digit()))
    };
    let goes_on = !has_full_stop && (after.starts_with(['/', '?', '#', '@']) || is_port());
    let end = idna::domain_to_ascii(end).unwrap_or_default();
    let is_domain = || tld::exist(&end) || RESERVED_ENDS.contains(&end.as_str());
    goes_on || before == Some('@') || (!is_abbreviated_name(typed) && is_domain())
}

/// Returns whether the text is initials or a title before a family name, without a space: `.kim`, `.wang` and `.no` are
/// top-level domains, too.
fn is_abbreviated_name(typed: &str) -> bool {
    let Some((first, last)) = typed.rsplit_once('.') else {
        return false;
    };
    let is_initial = |text: &str| text.chars().count() == 1 && text.starts_with(char::is_uppercase);
    first
        .split('.')
        .all(|text| is_initial(text) || TITLES.contains(&text))
        && last.starts_with(char::is_uppercase)
        && last.chars().skip(1).any(char::is_lowercase)
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
            ("علی\u{200C}رضا", "علی\u{200C}رضا"),
            ("Ada 👩\u{200D}💻", "Ada 👩\u{200D}💻"),
            ("🦀", "🦀"),
            ("e\u{301}mile", "e\u{301}mile"),
        ] {
            assert_eq!(PersonName::parse(typed).unwrap().as_str(), kept);
        }
        assert!(PersonName::parse(&"é".repeat(100)).is_ok());
        for (bad, code) in [
            ("", "too_short"),
            ("   ", "too_short"),
            ("\u{2800}", "too_short"),
            ("\u{301}", "too_short"),
            ("Ada\r\nBcc: x", "control_characters"),
            ("a\u{7}b", "control_characters"),
            ("a\u{85}b", "control_characters"),
            ("\u{200B}", "invisible_characters"),
            ("\u{3164}", "invisible_characters"),
            ("\u{202E}adA", "invisible_characters"),
            ("Ada\u{2066}", "invisible_characters"),
            ("Ada\u{2028}L", "invisible_characters"),
            ("Ada\u{200D}L", "invisible_characters"),
            ("A\u{AD}da", "invisible_characters"),
            ("\u{FEFF}Ada", "invisible_characters"),
        ] {
            assert_eq!(PersonName::parse(bad).unwrap_err().code, code, "{bad:?}");
        }
        assert!(PersonName::parse(&"é".repeat(101)).is_err());
    }

    #[test]
    fn a_name_leads_nowhere() {
        for bad in [
            "You won, see https://evil.example/win now",
            "HTTP://evil",
            "ftp://x",
            "javascript://x",
            "see www.evil",
            "WWW.EVIL.COM",
            "(www.evil)",
            "evil.com",
            "Evil.Com",
            "now: evil.com!",
            "evil.com.",
            "evil.example",
            "evil.example/win",
            "evil.unknown/win",
            "evil.unknown:8080",
            "evil.unknown?x",
            "shop.evil.co.uk",
            "ｅｖｉｌ．ｃｏｍ",
            "evil。com",
            "пример.рф",
            "中文.中国",
            "xn--e1afmkfd.xn--p1ai",
            "ada@evil.com",
            "ada@evil.unknown",
            "192.0.2.1",
            "bit.ly/x",
            "mailto:a@evil.unknown",
            "x-evil.com,y",
            "evil_x.com",
            "t.co",
            "j.kim",
            "J.KIM",
            "dr.no",
            "T.Co/x",
            "Ada.Kim",
        ] {
            let rule = PersonName::parse(bad).unwrap_err();
            assert_eq!(rule.code, "contains_link", "{bad}");
        }
        for good in [
            "Dr.Who",
            "Dr. Who",
            "Dr.No",
            "J.Kim",
            "H.C. Wang",
            "H.C.Wang",
            "Prof.Dr.Kim",
            "J.R.R. Tolkien",
            "J.R.R.Tolkien",
            "St. John",
            "St.John",
            "Ph.D.",
            "M.D",
            "Sammy Davis Jr.",
            "Mary-Ann O'Neil",
            "Ada/Charles",
            "He/Him",
            "@ada",
            "Ada @ home",
            "No. 5",
            "www",
            "Awww. Ada",
            "3.14",
            "iPhone 15.2",
            "Ada...",
            "A: B",
            "Ada & Co.",
        ] {
            assert!(PersonName::parse(good).is_ok(), "{good}");
        }
    }
}
