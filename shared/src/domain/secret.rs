//! Derivation of secrets from other secrets.

use aws_lc_rs::hkdf;
use secrecy::{ExposeSecret, SecretString};

/// Derives a secret for a purpose, which reveals nothing about the original (RFC 5869): 64 hexadecimal characters, 256
/// bits.
#[expect(
    clippy::expect_used,
    reason = "32 bytes are what SHA-256 expands to at once"
)]
pub fn derive(secret: &SecretString, purpose: &str) -> SecretString {
    let mut derived = [0; 32];
    let info = [b"gatehouse ", purpose.as_bytes()];
    hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
        .extract(secret.expose_secret().as_bytes())
        .expand(&info, hkdf::HKDF_SHA256)
        .and_then(|material| material.fill(&mut derived))
        .expect("a key of this length");
    SecretString::from(hex::encode(derived))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected value is from an independent implementation: Python's `hmac`, extract and expand by sections 2.2
    /// and 2.3.
    #[test]
    fn a_derived_secret_is_the_one_of_rfc_5869() {
        let secret = SecretString::from("k".repeat(32));

        assert_eq!(
            derive(&secret, "a purpose").expose_secret(),
            "c542f38cdb979763f152ae8bd75ca6b80b0f8ba39a1a99255d272e1988b1a998"
        );
    }
}
