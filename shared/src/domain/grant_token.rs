//! The value with which a browser comes back from another provider.

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use validator::ValidationError;

use super::email_token::{self, TokenHash};
use super::encryption::{Cipher, DecryptionFailed, Opened, Sealed};
use super::rule::Parse;

/// 256 random bits in hexadecimal. The hash names the grant; the value itself opens what the grant holds, so that nobody
/// who reads the table can.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(transparent)]
pub struct GrantToken {
    #[schemars(with = "String", regex(pattern = "^[0-9A-Fa-f]{64}$"))]
    token: SecretString,
    #[schemars(skip)]
    hash: TokenHash,
}

impl Parse for GrantToken {
    fn parse(text: &str) -> Result<Self, ValidationError> {
        let hash = TokenHash::parse(text)?;
        let token = SecretString::from(text.to_ascii_lowercase());
        Ok(Self { token, hash })
    }
}

impl GrantToken {
    /// Creates a value from random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        let (token, hash) = email_token::of_random(random);
        Self { token, hash }
    }

    /// Returns the value, for the browser.
    pub fn expose(&self) -> &str {
        self.token.expose_secret()
    }

    /// Returns the hash, for the store.
    pub fn hash(&self) -> &TokenHash {
        &self.hash
    }

    /// Encrypts a text that the grant holds. The nonce must be used only once.
    pub fn seal(&self, text: &[u8], nonce: [u8; 12]) -> Sealed {
        self.cipher().seal(text, self.hash.as_str(), nonce)
    }

    /// Decrypts what the grant holds.
    ///
    /// # Errors
    /// [`DecryptionFailed`] for the text of another grant.
    pub fn open(&self, sealed: &Sealed) -> Result<Opened, DecryptionFailed> {
        self.cipher().open(sealed, self.hash.as_str())
    }

    fn cipher(&self) -> Cipher {
        Cipher::new(&self.token, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_what_its_grant_holds_and_nothing_else() {
        let (grant, other) = (GrantToken::new([1; 32]), GrantToken::new([2; 32]));
        let sealed = grant.seal(b"text", [7; 12]);

        let read = GrantToken::parse(&grant.expose().to_uppercase()).unwrap();
        assert_eq!(read.hash(), grant.hash());
        assert_eq!(*read.open(&sealed).ok().unwrap().plaintext, b"text");
        assert!(other.open(&sealed).is_err());
        assert!(GrantToken::parse("short").is_err());
    }
}
