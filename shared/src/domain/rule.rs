//! The rules that a field can break, as errors of `validator`: a code and parameters for programs, a message for
//! people. They never contain the input.

use std::borrow::Cow;

use secrecy::SecretString;
use validator::{ValidateLength, ValidationError};

/// A value that is parsed from text.
pub trait Parse: Sized {
    /// Parses a client's input.
    ///
    /// # Errors
    /// The broken rule.
    fn parse(text: &str) -> Result<Self, ValidationError>;
}

/// Accepts any text.
impl Parse for String {
    fn parse(text: &str) -> Result<Self, ValidationError> {
        Ok(text.to_owned())
    }
}

/// Accepts any text, and keeps it out of debug output.
impl Parse for SecretString {
    fn parse(text: &str) -> Result<Self, ValidationError> {
        Ok(Self::from(text))
    }
}

/// Creates a rule from its code and a message that continues the field's name.
pub fn rule(code: &'static str, message: impl Into<Cow<'static, str>>) -> ValidationError {
    ValidationError::new(code).with_message(message.into())
}

/// Returns the rule of a minimum length in characters.
pub fn too_short(min: usize) -> ValidationError {
    let message = match min {
        1 => "must not be empty".to_owned(),
        _ => format!("must be at least {min} characters long"),
    };
    let mut rule = rule("too_short", message);
    rule.add_param("min".into(), &min);
    rule
}

/// Returns the rule of a maximum length in characters.
pub fn too_long(max: usize) -> ValidationError {
    let mut rule = rule("too_long", format!("must be at most {max} characters long"));
    rule.add_param("max".into(), &max);
    rule
}

/// Checks the length of a text in characters (Unicode code points).
///
/// # Errors
/// `too_short` and `too_long`.
pub fn check_length(text: &str, min: usize, max: usize) -> Result<(), ValidationError> {
    let (min_length, max_length) = (min as u64, max as u64);
    if !text.validate_length(Some(min_length), None, None) {
        return Err(too_short(min));
    }
    if !text.validate_length(None, Some(max_length), None) {
        return Err(too_long(max));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn lengths_are_counted_in_characters_and_said_in_words() {
        assert_eq!(check_length("äö", 2, 2), Ok(()));
        assert_eq!(check_length("ä", 2, 2), Err(too_short(2)));
        assert_eq!(check_length("äöü", 2, 2), Err(too_long(2)));

        let message = |rule: ValidationError| rule.message.unwrap();
        assert_eq!(message(too_short(1)), "must not be empty");
        assert_eq!(message(too_short(8)), "must be at least 8 characters long");
    }

    #[test]
    fn any_text_is_kept_as_it_is() {
        assert_eq!(String::parse(" a ").unwrap(), " a ");
        assert_eq!(SecretString::parse(" a ").unwrap().expose_secret(), " a ");
    }
}
