//! Tokens that travel by mail. None is stored: the outbox holds a random identifier from which the
//! mailer derives the token again, the other side stores the token's hash.

use aws_lc_rs::{digest, hmac};

use super::secret::Secret;

/// What a mailed token is for. The purpose is part of the derivation, so that a token of one kind
/// is never one of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Proves that an address is its owner's.
    VerifyEmail,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::VerifyEmail => b"verify-email",
        }
    }
}

/// 128 random bits in hexadecimal. Worth nothing without the server's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenId(String);

impl TokenId {
    /// A new one.
    pub fn new(random: [u8; 16]) -> Self {
        Self(hex::encode(random))
    }

    /// As it is stored in the outbox.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The token's SHA-256 in hexadecimal: the only form that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHash(String);

impl TokenHash {
    /// As it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `hex(HMAC-SHA256(secret, purpose ‖ token_id))`: 64 hexadecimal characters, 256 bits.
pub fn derive(secret: &Secret, purpose: Purpose, token_id: &TokenId) -> Secret {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let mut message = purpose.label().to_vec();
    message.extend_from_slice(token_id.as_str().as_bytes());
    Secret::new(hex::encode(hmac::sign(&key, &message)))
}

/// What is stored of a token.
pub fn hash(token: &Secret) -> TokenHash {
    TokenHash(hex::encode(digest::digest(
        &digest::SHA256,
        token.expose().as_bytes(),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_an_independent_implementation_derives() {
        // python3 -c "import hmac;print(hmac.new(b'k'*32, b'verify-email'+b'00'*16, 'sha256').hexdigest())"
        let token = derive(
            &Secret::new("k".repeat(32)),
            Purpose::VerifyEmail,
            &TokenId::new([0; 16]),
        );

        assert_eq!(
            token.expose(),
            "202a5f8242446ddd037cde6150888dea0d678c71933d60f06df93b45b8e1dc4e"
        );
        assert_eq!(
            hash(&token).as_str(),
            "276d991dc6d3ad369730cbd72c5f1658f8b6f9ad709a67237c38c0f01e1c2d4a"
        );
    }
}
