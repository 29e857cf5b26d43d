//! Email addresses: stored as typed, compared and mailed in their ASCII form.

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Host;
use validator::{ValidateEmail, ValidationError};

use super::characters::is_invisible;
use super::rule::{Parse, check_length, rule, too_long};

/// RFC 5321, 4.5.3.1.3: 256 octets for the path, less its two angle brackets.
const MAX_LENGTH: usize = 254;

/// A valid email address as typed, trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct EmailAddress(#[schemars(email, length(max = MAX_LENGTH))] String);

impl Parse for EmailAddress {
    /// Accepts an address that every server can deliver to and that looks like what it is: its ASCII form is valid by
    /// HTML's `input type=email` and RFC 5321, at most 254 octets long (64 before the `@`), its domain is not an
    /// address literal, and it contains no invisible characters.
    fn parse(text: &str) -> Result<Self, ValidationError> {
        let address = text.trim();
        check_length(address, 0, MAX_LENGTH)?;
        let ascii = ascii(address).ok_or_else(invalid)?;
        // One character may become a whole word in the ASCII form, from which keys and commands are built.
        if ascii.len() > MAX_LENGTH {
            return Err(too_long(MAX_LENGTH));
        }
        let (local_part, domain) = ascii.rsplit_once('@').unwrap_or_default();
        // HTML allows dots anywhere; mail servers refuse consecutive dots (RFC 5321, 4.1.2).
        let can_be_mailed = ascii.validate_email()
            && email_address::EmailAddress::is_valid_local_part(local_part)
            && email_address::EmailAddress::is_valid_domain(domain);
        // IDNA would drop invisible characters: people would see another address than the stored one.
        let is_seen = !address
            .chars()
            .any(|c| is_invisible(c) || c.is_whitespace());
        match can_be_mailed && is_seen {
            true => Ok(Self(address.to_owned())),
            false => Err(invalid()),
        }
    }
}

/// Returns the rule broken by a text that is not an email address.
pub fn invalid() -> ValidationError {
    rule("invalid_email", "must be a valid email address")
}

/// Converts the domain to the form of DNS and mail servers (`xn--…`, RFC 5891); `None` without a valid domain.
fn ascii(address: &str) -> Option<String> {
    let (local_part, domain) = address.rsplit_once('@')?;
    let domain = Uts46::new().to_ascii(
        domain.as_bytes(),
        AsciiDenyList::STD3,
        Hyphens::CheckFirstLast,
        DnsLength::Verify,
    );
    Some(format!("{local_part}@{}", domain.ok()?))
}

impl EmailAddress {
    /// Returns the address as typed, for display.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part before the `@`.
    pub fn local_part(&self) -> &str {
        self.0
            .rsplit_once('@')
            .map_or(&self.0, |(local_part, _)| local_part)
    }

    /// Returns the address to send mail to: as typed, with the domain in its ASCII form. Not every server supports
    /// others (SMTPUTF8, RFC 6531), and SES does not.
    pub fn mailbox(&self) -> String {
        ascii(&self.0).unwrap_or_else(|| self.0.clone())
    }

    /// Returns the canonical form, shared by all spellings of an address: the mailbox in lower case, so that
    /// `ü.example` and `xn--tda.example` are one domain.
    pub fn canonical(&self) -> String {
        self.mailbox().to_lowercase()
    }

    /// Returns the domain in lower case.
    pub fn domain(&self) -> String {
        let canonical = self.canonical();
        let domain = canonical.rsplit_once('@').map(|(_, domain)| domain);
        domain.unwrap_or_default().to_owned()
    }

    /// Returns whether the domain is a name of the public DNS: it contains a dot and is not an IPv4 number
    /// (`127.0.0.1`, `x.0x7f`) by the rules of the URL standard.
    pub fn is_public(&self) -> bool {
        let mailbox = self.mailbox();
        let (_, domain) = mailbox.rsplit_once('@').unwrap_or_default();
        domain.contains('.') && matches!(Host::parse(domain), Ok(Host::Domain(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn valid_addresses_are_kept_as_typed_but_trimmed() {
        for (typed, kept) in [
            ("ada@example.com", "ada@example.com"),
            ("  Ada.L+tag@Example.COM \n", "Ada.L+tag@Example.COM"),
            ("o'neil@sub.example.co.uk", "o'neil@sub.example.co.uk"),
            ("ada@bücher.example", "ada@bücher.example"),
        ] {
            assert_eq!(EmailAddress::parse(typed).unwrap().as_str(), kept);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for typed in [
            "",
            " ",
            "ada",
            "ada@",
            "@example.com",
            "a b@example.com",
            "a@b@c.de",
            "a@exa mple.com",
            "a@-x.de",
            "a@x-.de",
            "a@x..de",
            "a@x.de.",
            "a@x_y.de",
            "é@x.de",
            "a\n@x.de",
            "a@[192.0.2.1]",
            "a@x\r\nBcc: y[127.0.0.1]",
            "ada@example.com\0[::1]",
            "a@<script>alert(1)</script>[127.0.0.1]",
            "a@［192.0.2.1］",
            "a@x\r\nBcc: y［::1］",
            "a@<script>alert(1)</script>﹇::1﹈",
            // Refused by mail servers:
            "a..b@docomo.ne.jp",
            ".a@example.com",
            "a.@example.com",
            "\"a..b\"@example.com",
            "a@-x.example",
            "a@xn--a.example",
            "a@\u{FF0E}example",
            // Invisible characters:
            "ada@example.org\u{200B}",
            "ada@\u{200B}example.org",
            "a\u{AD}da@example.org",
            "ada@exa\u{AD}mple.org",
            "ada@exam\u{202E}ple.org",
            "ada@example\u{2060}.org",
            "\u{FEFF}ada@example.org",
            "ada@exa\u{FE0F}mple.org",
            "ada@exa\u{34F}mple.org",
            "ada@exa\u{3164}mple.org",
            "ada@نامه\u{200C}ای.example",
            "ada@exa\u{A0}mple.org",
            "ada@exa\u{3000}mple.org",
            "ada@example.org\u{2028}x",
            "a\tb@example.org",
        ] {
            let rule = EmailAddress::parse(typed).unwrap_err();

            assert_eq!(rule.code, "invalid_email", "{typed:?}");
        }
    }

    #[test]
    fn the_maximum_is_254_octets_of_the_ascii_form_and_64_before_the_at() {
        let label = "d".repeat(61);
        let longest = format!("{}@{label}.{label}.{label}.com", "a".repeat(64));

        assert_eq!(longest.len(), 254);
        assert!(EmailAddress::parse(&longest).is_ok());
        for too_long in [
            format!("a{longest}"),
            format!("a@{}", ["㌖"; 125].join(".")),
            format!("a@{}", ["㍿"; 60].join(".")),
            format!("{}@bücher.example", "a".repeat(240)),
        ] {
            let rule = EmailAddress::parse(&too_long).unwrap_err();
            assert!(
                ["too_long", "invalid_email"].contains(&&*rule.code),
                "{too_long}"
            );
        }
        let local_part = format!("{}@example.com", "a".repeat(65));
        let label = format!("a@{}.com", "d".repeat(64));
        let label_in_ascii = format!("a@{}.com", "ü".repeat(60));
        for invalid in [local_part, label, label_in_ascii] {
            let rule = EmailAddress::parse(&invalid).unwrap_err();
            assert_eq!(rule.code, "invalid_email", "{invalid}");
        }
    }

    #[test]
    fn mail_goes_to_the_ascii_form_of_the_domain() {
        for (typed, mailbox) in [
            ("Ada.L@Example.COM", "Ada.L@example.com"),
            ("ada@bücher.example", "ada@xn--bcher-kva.example"),
            ("ada@ｅｘａｍｐｌｅ。com", "ada@example.com"),
            ("ada@straße.example", "ada@xn--strae-oqa.example"),
            ("ada@中文.example", "ada@xn--fiq228c.example"),
        ] {
            let address = EmailAddress::parse(typed).unwrap();
            assert_eq!(
                (address.as_str(), address.mailbox()),
                (typed, mailbox.to_owned())
            );
        }
    }

    #[test]
    fn a_public_domain_has_a_dot_and_ends_in_no_number() {
        let is_public = |text| EmailAddress::parse(text).unwrap().is_public();

        for public in [
            "a@x.example",
            "a@4chan.example",
            "a@bücher.example",
            "a@1.2.3.example",
        ] {
            assert!(is_public(public), "{public}");
        }
        for other in [
            "a@localhost",
            "a@127.0.0.1",
            "a@x.1",
            "a@1.2.3.4.5",
            "a@x.0x7f",
            "a@１２７.０.０.１",
            "a@7",
        ] {
            assert!(!is_public(other), "{other}");
        }
    }

    #[test]
    fn spellings_of_one_address_are_compared_equal() {
        let canonical = |text| EmailAddress::parse(text).unwrap().canonical();

        assert_eq!(canonical("Ada@Example.COM"), "ada@example.com");
        assert_eq!(
            canonical("ada@BÜCHER.example"),
            canonical("ADA@xn--bcher-kva.example")
        );
        assert_ne!(canonical("ada@example.com"), canonical("ada@example.org"));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in any::<String>()) {
            let _ = EmailAddress::parse(&text);
        }

        #[test]
        fn whatever_is_accepted_can_be_mailed(text in "[a-z.\"'+]{1,70}@([a-z㌖㍿üß。.-]{1,70}|\\PC{1,40})") {
            if let Ok(address) = EmailAddress::parse(&text) {
                let canonical = address.canonical();
                prop_assert!(canonical.len() <= 254 && canonical.is_ascii(), "{}", canonical);
                prop_assert!(address.mailbox().parse::<lettre::Address>().is_ok(), "{}", canonical);
                prop_assert_eq!(EmailAddress::parse(&canonical).unwrap().canonical(), canonical);
            }
        }

        #[test]
        fn the_canonical_form_is_its_own(local in "[A-Za-z0-9+_-]{1,10}(\\.[a-z]{1,9})?", domain in "[A-Za-z]{1,10}\\.[A-Za-z]{2,5}") {
            let first = EmailAddress::parse(&format!("{local}@{domain}")).unwrap().canonical();

            prop_assert_eq!(EmailAddress::parse(&first).unwrap().canonical(), first);
        }
    }
}
