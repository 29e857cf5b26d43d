//! Passwords: the rules of NIST SP 800-63B-4 and ASVS 5.0, 6.2, and what our users asked for beside them.

use std::fmt;

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use zeroize::Zeroizing;

use super::email_address::EmailAddress;
use super::username::Username;

/// Code points after NFC; more is refused before any hashing, so that nobody pays for it.
const MAXIMUM_LENGTH: usize = 128;

/// Lower-cased, sorted, of eight characters or more; THIRD_PARTY.md names the sources.
static COMMON: &str = include_str!("common_passwords.txt");

/// A password in NFC, never trimmed, never truncated. Masked when debugged, zeroed when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Parses what a client sent to prove who it is; for a new password see [`Policy::parse`].
    ///
    /// # Errors
    /// The rule that is broken: 1–128 characters.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let password = Self(Zeroizing::new(text.nfc().collect()));
        match password.length() {
            0 => Err("must not be empty"),
            1..=MAXIMUM_LENGTH => Ok(password),
            _ => Err("must be at most 128 characters long"),
        }
    }

    /// What is hashed.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn length(&self) -> usize {
        self.0.chars().count()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// What a new password must satisfy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Code points after NFC; at least 8.
    pub minimum_length: usize,
    /// Whether something that is neither a letter with a case nor a digit must occur.
    pub symbol_is_required: bool,
    /// The application's name, which is nobody's password.
    pub application_name: String,
}

/// Whose password it is to be, as far as known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Owner<'a> {
    /// Neither the address nor its local part may be the password.
    pub email: Option<&'a EmailAddress>,
    /// The username may not be the password.
    pub username: Option<&'a Username>,
}

impl Policy {
    /// Parses a new password.
    ///
    /// # Errors
    /// Every rule that is broken; over the maximum, only that.
    pub fn parse(&self, text: &str, owner: Owner<'_>) -> Result<Password, Vec<String>> {
        let password = Password::parse(text).map_err(|rule| vec![rule.to_owned()])?;
        let characters = || password.0.chars();
        let mut broken = Vec::new();

        if password.length() < self.minimum_length {
            broken.push(format!(
                "must be at least {} characters long",
                self.minimum_length
            ));
        }
        if !characters().any(char::is_uppercase) {
            broken.push("must contain an upper-case letter".to_owned());
        }
        if !characters().any(char::is_lowercase) {
            broken.push("must contain a lower-case letter".to_owned());
        }
        if !characters().any(is_digit) {
            broken.push("must contain a digit".to_owned());
        }
        if self.symbol_is_required && !characters().any(is_symbol) {
            broken.push("must contain a symbol".to_owned());
        }
        let folded = Zeroizing::new(password.0.to_lowercase());
        if is_common(&folded) {
            broken.push("is one of the most common passwords".to_owned());
        }
        if let Some(what) = self.names(&folded, owner) {
            broken.push(format!("must not be {what}"));
        }

        if broken.is_empty() {
            Ok(password)
        } else {
            Err(broken)
        }
    }

    /// Whom or what the password names, compared whole and without case.
    fn names(&self, folded: &str, owner: Owner<'_>) -> Option<&'static str> {
        let is = |text: &str| text.nfc().collect::<String>().to_lowercase() == folded;
        if owner.email.is_some_and(|email| is(email.as_str())) {
            return Some("the email address");
        }
        if owner.email.is_some_and(|email| is(email.local_part())) {
            return Some("the name in the email address");
        }
        if owner.username.is_some_and(|username| is(username.as_str())) {
            return Some("the username");
        }
        is(&self.application_name).then_some("the name of this application")
    }
}

fn is_digit(character: char) -> bool {
    character.general_category() == GeneralCategory::DecimalNumber
}

fn is_symbol(character: char) -> bool {
    !character.is_uppercase() && !character.is_lowercase() && !is_digit(character)
}

/// A binary search by bytes, so that nothing is built at start.
fn is_common(folded: &str) -> bool {
    let (mut low, mut high) = (0, COMMON.len());
    while low < high {
        let middle = COMMON.as_bytes()[..low + (high - low) / 2]
            .iter()
            .rposition(|byte| *byte == b'\n');
        let start = middle.map_or(0, |newline| newline + 1).max(low);
        let end = COMMON.as_bytes()[start..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(COMMON.len(), |at| start + at);
        match COMMON.as_bytes()[start..end].cmp(folded.as_bytes()) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy() -> Policy {
        Policy {
            minimum_length: 8,
            symbol_is_required: false,
            application_name: "Gatehouse2".into(),
        }
    }

    fn broken(text: &str) -> Vec<String> {
        policy()
            .parse(text, Owner::default())
            .err()
            .unwrap_or_default()
    }

    #[test]
    fn good_passwords_are_taken_as_they_are() {
        let passphrase: String = "Correct 7 horses 🐎 battery staple "
            .chars()
            .cycle()
            .take(64)
            .collect();
        for good in [
            "Abcdef1x",
            " Abcdef1 ",
            passphrase.as_str(),
            "Ünïcode٣x",
            "Straße Ω9 αβγ",
            &"Ab1".repeat(42),
        ] {
            assert!(broken(good).is_empty(), "{good:?}: {:?}", broken(good));
        }
    }

    #[test]
    fn every_broken_rule_is_named() {
        assert_eq!(
            broken("---"),
            [
                "must be at least 8 characters long",
                "must contain an upper-case letter",
                "must contain a lower-case letter",
                "must contain a digit"
            ]
        );
        assert_eq!(broken("abcdefg1x"), ["must contain an upper-case letter"]);
        assert_eq!(broken("ABCDEFG1X"), ["must contain a lower-case letter"]);
        assert_eq!(broken("Abcdefghi½"), ["must contain a digit"]);
        assert_eq!(
            broken("Password123"),
            ["is one of the most common passwords"]
        );
        assert_eq!(broken(""), ["must not be empty"]);
        assert_eq!(
            broken(&"Aa1".repeat(43)),
            ["must be at most 128 characters long"]
        );
    }

    #[test]
    fn a_symbol_is_anything_else() {
        let policy = Policy {
            symbol_is_required: true,
            ..policy()
        };
        for good in ["Abcdef1-x", "Abcdef1 x", "Abcdef1漢x"] {
            assert!(policy.parse(good, Owner::default()).is_ok(), "{good:?}");
        }
        assert!(policy.parse("Abcdefg1x", Owner::default()).is_err());
    }

    #[test]
    fn length_is_counted_in_code_points_after_nfc() {
        let decomposed = "e\u{301}".repeat(125) + "Aa1";
        assert!(
            broken(&decomposed).is_empty(),
            "253 code points, 128 after NFC"
        );
        assert_eq!(
            broken("Aa1e\u{301}e\u{301}"),
            ["must be at least 8 characters long"]
        );
    }

    #[test]
    fn both_forms_of_one_password_are_the_same() {
        assert_eq!(
            Password::parse("Cafe\u{301} 123").unwrap(),
            Password::parse("Caf\u{e9} 123").unwrap()
        );
        assert_ne!(
            Password::parse("Caf\u{e9} 123").unwrap(),
            Password::parse("Caf\u{e9} 123 ").unwrap()
        );
    }

    #[test]
    fn what_names_its_owner_or_the_application_is_refused() {
        let email = EmailAddress::parse("Ada.Lovelace1@Example.com").unwrap();
        let username = Username::parse("Countess_1815").unwrap();
        let owner = Owner {
            email: Some(&email),
            username: Some(&username),
        };
        for (text, rule) in [
            ("ada.LOVELACE1@example.com", "must not be the email address"),
            ("ADA.lovelace1", "must not be the name in the email address"),
            ("cOUNTESS_1815", "must not be the username"),
            ("gATEHOUSE2", "must not be the name of this application"),
        ] {
            let broken = policy().parse(text, owner).unwrap_err();

            assert!(
                broken.iter().any(|broken| broken == rule),
                "{text}: {broken:?}"
            );
        }
        assert!(
            policy().parse("Countess_1815x", owner).is_ok(),
            "compared whole"
        );
    }

    #[test]
    fn the_list_of_common_passwords_is_sorted_and_every_entry_is_found() {
        let lines: Vec<&str> = COMMON.lines().collect();

        assert!(lines.len() >= 10_000);
        assert!(lines.is_sorted_by(|a, b| a.as_bytes() < b.as_bytes()));
        assert!(lines.iter().all(|line| is_common(line)));
        assert!(
            !is_common("")
                && !is_common("no such password")
                && !is_common("zzzzzzzzzzzzzzzzzzzzz")
                && !is_common("\n")
        );
    }

    #[test]
    fn is_masked_when_debugged() {
        assert_eq!(
            format!("{:?}", Password::parse("Abcdef1x").unwrap()),
            "Password(…)"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_keeps_the_rules(text in any::<String>()) {
            if policy().parse(&text, Owner::default()).is_ok() {
                let characters: Vec<char> = text.nfc().collect();
                prop_assert!((8..=128).contains(&characters.len()));
                prop_assert!(characters.iter().any(|c| c.is_uppercase()));
                prop_assert!(characters.iter().any(|c| c.is_lowercase()));
            }
        }
    }
}
