//! Tokens sent by mail. No token is stored: the outbox holds a random identifier from which the mailer derives the
//! token again, and the store that verifies it holds the token's hash.

use aws_lc_rs::{digest, hmac};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use validator::ValidationError;

use super::rule::{Parse, rule};

/// The purpose of a mailed token. It is part of the derivation, so that a token of one kind is never valid as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Proves the ownership of an address.
    VerifyEmail,
    /// Removes an account that somebody else has created with an address.
    RejectEmail,
    /// Allows setting a new password.
    ResetPassword,
    /// Turns the second factor off.
    UndoTwoFactor,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::VerifyEmail => b"verify-email",
            Self::RejectEmail => b"reject-email",
            Self::ResetPassword => b"reset-password",
            Self::UndoTwoFactor => b"undo-two-factor",
        }
    }
}

/// 128 random bits in hexadecimal. Useless without the server's secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(String);

impl TokenId {
    /// Creates an identifier from random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(hex::encode(random))
    }

    /// Returns the form stored in the outbox.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The token's SHA-256 in hexadecimal: the only form that is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct TokenHash(#[schemars(regex(pattern = "^[0-9A-Fa-f]{64}$"))] String);

/// Creates a new token: returns its identifier for the outbox and its hash for the store. Neither contains the token.
pub fn mint(secret: &SecretString, purpose: Purpose, random: [u8; 16]) -> (TokenId, TokenHash) {
    let id = TokenId::new(random);
    let hash = hash(&derive(secret, purpose, &id));
    (id, hash)
}

/// Creates a token that no secret derives, as its client gets it at once: 256 random bits in hexadecimal, and their hash.
pub fn of_random(random: [u8; 32]) -> (SecretString, TokenHash) {
    let token = SecretString::from(hex::encode(random));
    let hash = hash(&token);
    (token, hash)
}

impl Parse for TokenHash {
    /// Hashes a token of 64 hexadecimal characters.
    fn parse(text: &str) -> Result<Self, ValidationError> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(rule("invalid_token", "must be 64 hexadecimal characters"));
        }
        Ok(hash(&SecretString::from(text.to_ascii_lowercase())))
    }
}

impl TokenHash {
    /// Returns the stored form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Derives a token, `hex(HMAC-SHA256(secret, purpose ‖ token_id))`: 64 hexadecimal characters, 256 bits.
pub fn derive(secret: &SecretString, purpose: Purpose, token_id: &TokenId) -> SecretString {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    let mut message = purpose.label().to_vec();
    message.extend_from_slice(token_id.as_str().as_bytes());
    SecretString::from(hex::encode(hmac::sign(&key, &message)))
}

/// Returns the hash of a token.
pub fn hash(token: &SecretString) -> TokenHash {
    TokenHash(hex::encode(digest::digest(
        &digest::SHA256,
        token.expose_secret().as_bytes(),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_as_what_is_stored_of_it_and_of_its_purpose_alone() {
        let secret = SecretString::from("k".repeat(32));
        let id = TokenId::new([7; 16]);
        let token = derive(&secret, Purpose::VerifyEmail, &id);
        let other = derive(&secret, Purpose::ResetPassword, &id);

        assert_eq!(TokenHash::parse(token.expose_secret()), Ok(hash(&token)));
        assert_eq!(
            TokenHash::parse(&token.expose_secret().to_uppercase()),
            Ok(hash(&token))
        );
        assert_ne!(hash(&token), hash(&other));
        for bad in ["", "0", &"g".repeat(64), &"0".repeat(65), &"é".repeat(32)] {
            assert!(TokenHash::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_what_an_independent_implementation_derives() {
        // python3 -c "import hmac;print(hmac.new(b'k'*32, b'verify-email'+b'00'*16, 'sha256').hexdigest())"
        let token = derive(
            &SecretString::from("k".repeat(32)),
            Purpose::VerifyEmail,
            &TokenId::new([0; 16]),
        );

        assert_eq!(
            token.expose_secret(),
            "202a5f8242446ddd037cde6150888dea0d678c71933d60f06df93b45b8e1dc4e"
        );
        assert_eq!(
            hash(&token).as_str(),
            "276d991dc6d3ad369730cbd72c5f1658f8b6f9ad709a67237c38c0f01e1c2d4a"
        );
    }
}
