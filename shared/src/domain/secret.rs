//! Text that must not be seen: no `Display`, a masked `Debug`, zeroed when dropped.

use std::fmt;

use aws_lc_rs::hkdf;
use zeroize::Zeroizing;

/// A secret as it was configured or just minted.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text out of sight.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself: for a key, a hash or the one response that hands it out.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Another secret that this one is good for, and that tells nothing of it (RFC 5869): 64
    /// hexadecimal characters, 256 bits.
    #[expect(
        clippy::expect_used,
        reason = "32 bytes are what SHA-256 expands to at once"
    )]
    pub fn derive(&self, purpose: &str) -> Self {
        let mut derived = [0; 32];
        let info = [b"gatehouse ", purpose.as_bytes()];
        hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
            .extract(self.0.as_bytes())
            .expand(&info, hkdf::HKDF_SHA256)
            .and_then(|material| material.fill(&mut derived))
            .expect("a key of this length");
        Self::new(hex::encode(derived))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_masked_when_debugged() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".into())), "Secret(…)");
    }

    /// From an independent implementation: Python's `hmac`, extract and expand as in sections 2.2 and 2.3.
    #[test]
    fn a_derived_secret_is_the_one_of_rfc_5869() {
        let secret = Secret::new("k".repeat(32));

        assert_eq!(
            secret.derive("a purpose").expose(),
            "c542f38cdb979763f152ae8bd75ca6b80b0f8ba39a1a99255d272e1988b1a998"
        );
    }
}
