//! Encryption of secrets that must be read again: AES-256-GCM (NIST SP 800-38D), bound to the owner of the secret,
//! under a key that can be rotated.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::secret;
use super::token::key_id;

const NONCE_BYTES: usize = 12;

/// An encrypted text: `<key id>.<nonce, ciphertext and tag>`, in base64url.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(pub(crate) String);

impl Sealed {
    /// Returns the stored form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text cannot be decrypted: it was tampered with, belongs to another owner, or its key is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecryptionFailed;

/// A decrypted text.
pub struct Opened {
    /// The plaintext.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// Whether the text must be encrypted again, because it is encrypted under the previous key.
    pub is_outdated: bool,
}

/// Encrypts and decrypts.
pub struct Cipher {
    /// The keys with their ids, the current one first.
    keys: Vec<(String, LessSafeKey)>,
}

impl Cipher {
    /// Derives the keys from these secrets; the current one encrypts, both decrypt.
    pub fn new(secret: &SecretString, previous: Option<&SecretString>) -> Self {
        let secrets = std::iter::once(secret).chain(previous);
        Self {
            keys: secrets
                .map(|secret| (key_id(secret), key(secret)))
                .collect(),
        }
    }

    /// Encrypts a text that belongs to `owner`. The nonce must be used only once.
    #[expect(clippy::expect_used, reason = "short texts can be encrypted")]
    pub fn seal(&self, plaintext: &[u8], owner: &str, nonce: [u8; NONCE_BYTES]) -> Sealed {
        let (id, key) = &self.keys[0];
        let mut text = plaintext.to_vec();
        let aad = Aad::from(owner.as_bytes());
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text)
            .expect("a short text");
        let sealed = [&nonce[..], &text].concat();
        Sealed(format!("{id}.{}", URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// Decrypts a text that was encrypted for the same `owner`.
    ///
    /// # Errors
    /// [`DecryptionFailed`] for every failure.
    pub fn open(&self, sealed: &Sealed, owner: &str) -> Result<Opened, DecryptionFailed> {
        let (id, text) = sealed.0.split_once('.').ok_or(DecryptionFailed)?;
        let text = URL_SAFE_NO_PAD.decode(text).map_err(|_| DecryptionFailed)?;
        let (nonce, text) = text.split_first_chunk().ok_or(DecryptionFailed)?;
        let mut keys = self.keys.iter().enumerate();
        let (at, (_, key)) = keys
            .find(|(_, (known, _))| known == id)
            .ok_or(DecryptionFailed)?;
        let mut text = Zeroizing::new(text.to_vec());
        let aad = Aad::from(owner.as_bytes());
        let length = key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut text)
            .map_err(|_| DecryptionFailed)?
            .len();
        text.truncate(length);
        Ok(Opened {
            plaintext: text,
            is_outdated: at > 0,
        })
    }
}

#[expect(clippy::expect_used, reason = "a derived secret has 32 bytes")]
fn key(secret: &SecretString) -> LessSafeKey {
    let derived = secret::derive(secret, "data encryption");
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(derived.expose_secret(), &mut *bytes).expect("hexadecimal");
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*bytes).expect("a key of this length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(letter: &str) -> SecretString {
        SecretString::from(letter.repeat(32))
    }

    fn open(
        cipher: &Cipher,
        sealed: &Sealed,
        owner: &str,
    ) -> Result<(Vec<u8>, bool), DecryptionFailed> {
        let opened = cipher.open(sealed, owner)?;
        Ok((opened.plaintext.to_vec(), opened.is_outdated))
    }

    #[test]
    fn only_its_owner_and_its_key_open_it() {
        let cipher = Cipher::new(&secret("a"), None);
        let sealed = cipher.seal(b"text", "user|device", [7; 12]);

        assert_eq!(
            open(&cipher, &sealed, "user|device"),
            Ok((b"text".to_vec(), false))
        );
        assert_eq!(open(&cipher, &sealed, "user|other"), Err(DecryptionFailed));
        let rotated = Cipher::new(&secret("b"), Some(&secret("a")));
        assert_eq!(
            open(&rotated, &sealed, "user|device"),
            Ok((b"text".to_vec(), true))
        );
        let gone = Cipher::new(&secret("b"), None);
        assert_eq!(open(&gone, &sealed, "user|device"), Err(DecryptionFailed));
    }

    #[test]
    fn whatever_is_tampered_with_does_not_open() {
        let cipher = Cipher::new(&secret("a"), None);
        let sealed = cipher.seal(b"text", "owner", [7; 12]).0;
        for at in 0..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] = if bytes[at] == b'B' { b'C' } else { b'B' };
            let tampered = Sealed(String::from_utf8(bytes).unwrap());
            assert_eq!(
                open(&cipher, &tampered, "owner"),
                Err(DecryptionFailed),
                "{at}"
            );
        }
        for short in ["", ".", "a", &sealed[..sealed.len() - 1], &sealed[..20]] {
            let short = Sealed(short.to_owned());
            assert_eq!(open(&cipher, &short, "owner"), Err(DecryptionFailed));
        }
    }
}
