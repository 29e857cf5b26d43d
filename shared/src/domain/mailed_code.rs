//! Codes sent by mail, for the one who asked. Like mailed tokens they are not stored: the mailer and the function that
//! compares derive them from the identifier of the mail.

use aws_lc_rs::{constant_time, hmac};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use validator::ValidationError;

use super::characters::compact;
use super::email_address::EmailAddress;
use super::email_token::TokenId;
use super::rule::{Parse, rule};

/// The number of codes: six digits (NIST SP 800-63B-4, 3.1.3.2: at least 20 bits, or a limit of tries).
const CODES: u64 = 1_000_000;

/// The purpose of a mailed code. It is part of the derivation, so that a code of one kind is never valid as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodePurpose {
    /// Signs in.
    SignIn,
    /// Proves the ownership of an address, like the link beside it.
    VerifyEmail,
    /// Allows setting a new password, like the link beside it.
    ResetPassword,
}

impl CodePurpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::SignIn => b"sign-in-code",
            Self::VerifyEmail => b"verify-email-code",
            Self::ResetPassword => b"reset-password-code",
        }
    }
}

/// Six digits.
#[derive(Clone, Debug, JsonSchema)]
pub struct MailedCode(#[schemars(with = "String", regex(pattern = "^[0-9]{6}$"))] SecretString);

impl Parse for MailedCode {
    /// Parses a code, with or without spaces and hyphens.
    fn parse(text: &str) -> Result<Self, ValidationError> {
        let code = compact(text);
        match code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()) {
            true => Ok(Self(SecretString::from(code))),
            false => Err(rule("invalid_code", "must be six digits")),
        }
    }
}

impl MailedCode {
    /// Derives the code of a mail: `HMAC-SHA256(secret, purpose ‖ token_id ‖ address)`, reduced to six digits. The address
    /// is its canonical form: whoever can write the stored entry gets no code for another address.
    pub fn derive(
        secret: &SecretString,
        purpose: CodePurpose,
        id: &TokenId,
        address: &EmailAddress,
    ) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        let (id, address) = (id.as_str().as_bytes(), address.canonical());
        let message = [purpose.label(), id, address.as_bytes()].concat();
        let tag = hmac::sign(&key, &message);
        // Of 2⁶⁴ numbers, no code has noticeably more than another.
        let number = tag.as_ref().iter().take(8);
        let number = number.fold(0, |number, byte| number << 8 | u64::from(*byte));
        Self(SecretString::from(format!("{:06}", number % CODES)))
    }

    /// Returns the digits, for the mail.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Compares in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        let (one, other) = (self.expose().as_bytes(), other.expose().as_bytes());
        constant_time::verify_slices_are_equal(one, other).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use CodePurpose::{ResetPassword, SignIn, VerifyEmail};

    fn derive(secret: &str, id: u8) -> MailedCode {
        derive_for(SignIn, secret, id, "ada@example.com")
    }

    fn derive_for(purpose: CodePurpose, secret: &str, id: u8, address: &str) -> MailedCode {
        let secret = SecretString::from(secret.repeat(32));
        let address = EmailAddress::parse(address).unwrap();
        MailedCode::derive(&secret, purpose, &TokenId::new([id; 16]), &address)
    }

    #[test]
    fn a_code_is_what_an_independent_implementation_derives() {
        // python3 -c "import hmac; print(int.from_bytes(hmac.new(b'k'*32, b'sign-in-code'+b'00'*16+b'ada@example.com', 'sha256')
        //   .digest()[:8]) % 1000000)"
        assert_eq!(derive("k", 0).expose(), "131190");
        assert_ne!(derive("k", 0).expose(), derive("k", 1).expose());
        assert_ne!(derive("k", 0).expose(), derive("l", 0).expose());
        let other = derive_for(SignIn, "k", 0, "eve@example.com");
        assert_ne!(derive("k", 0).expose(), other.expose());
        let spelling = derive_for(SignIn, "k", 0, "Ada@EXAMPLE.com");
        assert_eq!(derive("k", 0).expose(), spelling.expose());
        let purposes = [SignIn, VerifyEmail, ResetPassword];
        let codes = purposes.map(|purpose| derive_for(purpose, "k", 0, "ada@example.com"));
        assert!(!codes[0].matches(&codes[1]) && !codes[0].matches(&codes[2]));
        assert!(!codes[1].matches(&codes[2]));
    }

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let code = derive("k", 0);
        let (one, other) = code.expose().split_at(3);
        for typed in [code.expose().to_owned(), format!(" {one}-{other} ")] {
            assert!(MailedCode::parse(&typed).unwrap().matches(&code), "{typed}");
        }
        for bad in ["", "12345", "1234567", "12345a", "12345six"] {
            assert!(MailedCode::parse(bad).is_err(), "{bad}");
        }
        assert!(
            !MailedCode::parse("000000")
                .unwrap()
                .matches(&derive("k", 0))
        );
    }
}
