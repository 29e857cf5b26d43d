//! Email addresses: kept as typed, compared without regard to case.

use idna::AsciiDenyList;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::{ValidateEmail, ValidationError};

use super::rule::{Parse, check_length, rule};

/// RFC 5321, 4.5.3.1.3: 256 octets for the path, less its two angle brackets.
const MAX_LENGTH: usize = 254;

/// A valid email address, trimmed, otherwise as its owner typed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct EmailAddress(#[schemars(email, length(max = MAX_LENGTH))] String);

impl Parse for EmailAddress {
    /// The rules: at most 254 characters, a valid address as HTML's `input type=email` defines it, whose domain may be
    /// international and is no literal.
    fn parse(text: &str) -> Result<Self, ValidationError> {
        let address = text.trim();
        check_length(address, 0, MAX_LENGTH)?;
        // The crate takes whatever ends like an address literal (`example[1.2.3.4]`), also one in full-width characters.
        let (_, domain) = address.rsplit_once('@').unwrap_or_default();
        let domain = idna::domain_to_ascii_cow(domain.as_bytes(), AsciiDenyList::STD3);
        match address.validate_email() && domain.is_ok() {
            true => Ok(Self(address.to_owned())),
            false => Err(rule("invalid_email", "must be a valid email address")),
        }
    }
}

impl EmailAddress {
    /// As typed, for display and for sending.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the `@`.
    pub fn local_part(&self) -> &str {
        self.0
            .rsplit_once('@')
            .map_or(&self.0, |(local_part, _)| local_part)
    }

    /// What two spellings of one address share: lower case, the domain in its ASCII form
    /// (`ü.example` and `xn--tda.example` are one domain, RFC 5891).
    pub fn canonical(&self) -> String {
        let Some((local_part, domain)) = self.0.rsplit_once('@') else {
            return self.0.to_lowercase();
        };
        let domain = idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_lowercase());
        format!("{}@{domain}", local_part.to_lowercase())
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
        ] {
            let rule = EmailAddress::parse(typed).unwrap_err();

            assert_eq!(rule.code, "invalid_email", "{typed:?}");
        }
    }

    #[test]
    fn the_maximum_is_254_characters() {
        let label = "d".repeat(61);
        let longest = format!("{}@{label}.{label}.{label}.com", "a".repeat(64));

        assert_eq!(longest.len(), 254);
        assert!(EmailAddress::parse(&longest).is_ok());
        let rule = EmailAddress::parse(&format!("a{longest}")).unwrap_err();
        assert_eq!(rule.code, "too_long");
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
        fn the_canonical_form_is_its_own(local in "[A-Za-z0-9.+_-]{1,20}", domain in "[A-Za-z]{1,10}\\.[A-Za-z]{2,5}") {
            let first = EmailAddress::parse(&format!("{local}@{domain}")).unwrap().canonical();

            prop_assert_eq!(EmailAddress::parse(&first).unwrap().canonical(), first);
        }
    }
}
