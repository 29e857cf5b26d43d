//! Passwords: the rules of NIST SP 800-63B-4 and ASVS 5.0, 6.2, and additional rules of the configuration.

use std::sync::{Arc, LazyLock};

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use validator::ValidationError;
use zeroize::Zeroizing;

use super::email_address::EmailAddress;
use super::leaked_passwords::LeakedPasswords;
use super::rule::{Parse, check_length, rule};
use super::username::Username;

/// The maximum length in code points after NFC. Longer passwords are refused before hashing, so that they cost nothing.
const MAX_LENGTH: usize = 128;

/// Common passwords, lower-cased and sorted, of eight characters or more; THIRD_PARTY.md names the sources.
const LIST: &str = include_str!("common_passwords.txt");

/// A password in NFC, never trimmed, never truncated. Masked in debug output, zeroed when dropped.
#[derive(Clone, Debug, JsonSchema)]
pub struct Password(#[schemars(with = "String", length(min = 1, max = MAX_LENGTH))] SecretString);

impl Parse for Password {
    /// Parses the password a client sent for authentication: 1–128 characters. A new password must satisfy a [`Policy`]
    /// as well.
    fn parse(text: &str) -> Result<Self, ValidationError> {
        let password = SecretString::from(text.nfc().collect::<String>());
        check_length(password.expose_secret(), 1, MAX_LENGTH)?;
        Ok(Self(password))
    }
}

impl Password {
    /// Returns the bytes to hash.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

/// The requirements for a new password.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The minimum length in code points after NFC; at least 8.
    pub minimum_length: usize,
    /// Whether the password must contain an upper-case letter, a lower-case letter and a digit.
    pub classes_are_required: bool,
    /// Whether the password must contain a symbol: a character that is neither a letter with a case nor a digit.
    pub symbol_is_required: bool,
    /// The application's name, which may not be the password.
    pub application_name: String,
    /// Passwords from data leaks, if the operator has given a list.
    pub leaked: Option<Arc<LeakedPasswords>>,
}

/// The owner of the password, as far as known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Owner<'a> {
    /// The address; neither it nor its local part may be the password.
    pub email: Option<&'a EmailAddress>,
    /// The username, which may not be the password.
    pub username: Option<&'a Username>,
}

impl Policy {
    /// Returns all rules that a new password breaks.
    pub fn broken_rules(&self, password: &Password, owner: Owner<'_>) -> Vec<ValidationError> {
        let text = password.0.expose_secret();
        let has = |is_such: fn(char) -> bool| text.chars().any(is_such);
        let missing = |what, code| rule(code, format!("must contain {what}"));
        let visible = text.chars().filter(|character| !is_invisible(*character));
        let folded = Zeroizing::new(visible.collect::<String>().to_lowercase());
        let rules = [
            check_length(text, self.minimum_length, MAX_LENGTH).err(),
            (self.classes_are_required && !has(char::is_uppercase))
                .then(|| missing("an upper-case letter", "missing_upper_case")),
            (self.classes_are_required && !has(char::is_lowercase))
                .then(|| missing("a lower-case letter", "missing_lower_case")),
            (self.classes_are_required && !has(is_digit))
                .then(|| missing("a digit", "missing_digit")),
            (self.symbol_is_required && !has(is_symbol))
                .then(|| missing("a symbol", "missing_symbol")),
            is_common(&folded)
                .then(|| rule("common_password", "is one of the most common passwords")),
            self.leaked
                .as_ref()
                .is_some_and(|leaked| leaked.contains(password.as_bytes()))
                .then(|| rule("leaked_password", "is known from a data leak")),
            self.names(&folded, owner),
        ];
        rules.into_iter().flatten().collect()
    }

    /// Returns the broken rule if the password is the owner's address, its local part, the username or the
    /// application's name, compared without case and without digits and symbols at the end.
    fn names(&self, folded: &str, owner: Owner<'_>) -> Option<ValidationError> {
        let email = owner.email.map(EmailAddress::as_str);
        let local_part = owner.email.map(EmailAddress::local_part);
        let username = owner.username.map(Username::as_str);
        let application = Some(self.application_name.as_str());
        let others = [
            (email, "email", "the email address"),
            (local_part, "email_name", "the name in the email address"),
            (username, "username", "the username"),
            (application, "application", "the name of this application"),
        ];
        // `Gatehouse123` counts as the application's name as well.
        let is_same = |text: &str| {
            let text = text.nfc().collect::<String>().to_lowercase();
            text == folded || !stem(&text).is_empty() && stem(&text) == stem(folded)
        };
        let mut same = others
            .into_iter()
            .filter(|(text, ..)| text.is_some_and(is_same));
        let (_, other, words) = same.next()?;
        Some(must_differ(other, words))
    }
}

/// Returns the rule that the password must differ from another known text.
pub fn must_differ(other: &str, words: &str) -> ValidationError {
    let mut rule = rule("must_differ", format!("must not be {words}"));
    rule.add_param("from".into(), &other);
    rule
}

fn is_digit(character: char) -> bool {
    character.general_category() == GeneralCategory::DecimalNumber
}

fn is_symbol(character: char) -> bool {
    !character.is_uppercase() && !character.is_lowercase() && !is_digit(character)
}

/// Returns whether a character is invisible, such as U+200B, which nobody sees or types.
fn is_invisible(character: char) -> bool {
    character.general_category() == GeneralCategory::Format
}

/// Removes everything after the last letter.
fn stem(text: &str) -> &str {
    text.trim_end_matches(|character: char| !character.is_alphabetic())
}

/// Returns whether a password is on the list, also with symbols at the end, or with another year or number of up to
/// four digits than the entry on the list.
fn is_common(folded: &str) -> bool {
    static COMMON: LazyLock<Vec<&str>> = LazyLock::new(|| LIST.lines().collect());
    let has = |text: &str| COMMON.binary_search(&text).is_ok();
    let is_number = |text: &str| text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    let word = folded.trim_end_matches(|character: char| !character.is_alphanumeric());
    let stem = word.trim_end_matches(|character: char| character.is_ascii_digit());
    let with_a_number = || {
        let first = COMMON.partition_point(|entry| *entry < stem);
        let begin_so = COMMON[first..].iter();
        let mut numbers = begin_so.map_while(|entry| entry.strip_prefix(stem));
        let number = &word[stem.len()..];
        stem.len() >= 4 && !number.is_empty() && is_number(number) && numbers.any(is_number)
    };
    has(folded) || has(word) || with_a_number()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy() -> Policy {
        Policy {
            minimum_length: 8,
            classes_are_required: true,
            symbol_is_required: false,
            leaked: None,
            application_name: "Gatehouse2".into(),
        }
    }

    /// Returns the codes of the rules that a text breaks.
    fn codes(policy: &Policy, text: &str, owner: Owner<'_>) -> Vec<String> {
        let rules = match Password::parse(text) {
            Ok(password) => policy.broken_rules(&password, owner),
            Err(rule) => vec![rule],
        };
        let with_params = |rule: ValidationError| {
            let params = rule.params.values().map(|value| format!(" {value}"));
            rule.code.to_string() + &params.collect::<String>()
        };
        rules.into_iter().map(with_params).collect()
    }

    fn broken(text: &str) -> Vec<String> {
        codes(&policy(), text, Owner::default())
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
                "too_short 8",
                "missing_upper_case",
                "missing_lower_case",
                "missing_digit"
            ]
        );
        assert_eq!(broken("abcdefg1x"), ["missing_upper_case"]);
        assert_eq!(broken("ABCDEFG1X"), ["missing_lower_case"]);
        assert_eq!(broken("Abcdefghi½"), ["missing_digit"]);
        assert_eq!(broken("Password123"), ["common_password"]);
        for common in [
            "Summer2026",
            "P@ssw0rd1",
            "Qwerty123!",
            "Password1\u{200b}",
            "Welcome99??",
        ] {
            assert_eq!(broken(common), ["common_password"], "{common}");
        }
        assert!(broken("Summer20261").is_empty(), "more than a year");
        assert_eq!(broken(""), ["too_short 1"]);
        assert_eq!(broken(&"Aa1".repeat(43)), ["too_long 128"]);
    }

    #[test]
    fn a_symbol_is_anything_else() {
        let policy = Policy {
            symbol_is_required: true,
            ..policy()
        };
        for good in ["Abcdef1-x", "Abcdef1 x", "Abcdef1漢x"] {
            assert!(
                codes(&policy, good, Owner::default()).is_empty(),
                "{good:?}"
            );
        }
        let without = codes(&policy, "Abcdefg1x", Owner::default());
        assert_eq!(without, ["missing_symbol"]);
    }

    #[test]
    fn length_is_counted_in_code_points_after_nfc() {
        let decomposed = "e\u{301}".repeat(125) + "Aa1";
        assert!(
            broken(&decomposed).is_empty(),
            "253 code points, 128 after NFC"
        );
        assert_eq!(broken("Aa1e\u{301}e\u{301}"), ["too_short 8"]);
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
        for (text, other) in [
            ("Gatehouse123", "application"),
            ("Gate\u{200b}house2026!", "application"),
            ("Countess_1816!", "username"),
            ("ada.LOVELACE1@example.com", "email"),
            ("ADA.lovelace1", "email_name"),
            ("cOUNTESS_1815", "username"),
            ("gATEHOUSE2", "application"),
        ] {
            let expected = format!("must_differ \"{other}\"");

            let broken = codes(&policy(), text, owner);

            assert!(broken.contains(&expected), "{text}: {broken:?}");
        }
        assert!(
            codes(&policy(), "Countess_1815x", owner).is_empty(),
            "a longer word"
        );
    }

    #[test]
    fn the_list_of_common_passwords_is_sorted_and_every_entry_is_found() {
        let lines: Vec<&str> = LIST.lines().collect();

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
        let debugged = format!("{:?}", Password::parse("Abcdef1x").unwrap());

        assert!(!debugged.contains("Abcdef1x"), "{debugged}");
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_keeps_the_rules(text in any::<String>()) {
            if broken(&text).is_empty() {
                let characters: Vec<char> = text.nfc().collect();
                prop_assert!((8..=128).contains(&characters.len()));
                prop_assert!(characters.iter().any(|c| c.is_uppercase()));
                prop_assert!(characters.iter().any(|c| c.is_lowercase()));
            }
        }
    }
}
