//! Backup codes, for users who have lost their phone: 80 random bits each, shown once, stored as hashes.

use aws_lc_rs::digest;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use validator::ValidationError;

use super::characters::compact;
use super::rule::{Parse, rule};

/// The number of codes per account.
pub const COUNT: usize = 10;
/// The length of a code.
const CHARACTERS: usize = 16;
/// Base 32 without letters that look like digits (Crockford): 5 bits per character.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The SHA-256 of a code, in hexadecimal: the only form that is stored. A code has too much randomness for its hash to
/// be reversed by brute force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(
    rename = "BackupCode",
    description = "A backup code, in any case, with or without hyphens and spaces."
)]
pub struct BackupCodeHash(String);

impl Parse for BackupCodeHash {
    /// Hashes a code, in any case, with or without hyphens and spaces.
    fn parse(text: &str) -> Result<Self, ValidationError> {
        let code = compact(text).to_ascii_uppercase();
        // People confuse these letters with digits when they read a code from paper.
        let code = code.replace('O', "0").replace(['I', 'L'], "1");
        if code.len() != CHARACTERS || !code.bytes().all(|byte| ALPHABET.contains(&byte)) {
            let message = "must be a backup code of 16 characters";
            return Err(rule("invalid_code", message));
        }
        Ok(Self::of(&code))
    }
}

impl BackupCodeHash {
    /// Returns the stored form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Restores a hash from its stored form.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    fn of(code: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, code.as_bytes());
        Self(hex::encode(digest))
    }
}

/// Generates a new code; returns it as shown to the user, with its hash. Uses five bits of each random byte.
pub fn mint(random: [u8; CHARACTERS]) -> (SecretString, BackupCodeHash) {
    let character = |byte: u8| char::from(ALPHABET[usize::from(byte & 31)]);
    let code: String = random.into_iter().map(character).collect();
    let hash = BackupCodeHash::of(&code);
    let groups = [&code[..4], &code[4..8], &code[8..12], &code[12..]];
    (SecretString::from(groups.join("-")), hash)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_code_is_read_back_however_it_is_typed() {
        let random = [0, 1, 17, 18, 31, 32, 255, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        let (code, hash) = mint(random);

        assert_eq!(code.expose_secret(), "01HJ-Z0Z8-9ABC-DEFG");
        for typed in [
            "01HJ-Z0Z8-9ABC-DEFG",
            "01hjz0z89abcdefg",
            "o1hj z0z8 9abc defg",
            "0LHJ-ZOZ8-9ABC-DEFG",
            "\t01HJ–Z0Z8–9ABC–DEFG\n",
            "０１ＨＪ Ｚ０Ｚ８ ９ＡＢＣ ＤＥＦＧ",
        ] {
            assert_eq!(BackupCodeHash::parse(typed), Ok(hash.clone()), "{typed}");
        }
        let stored = hash.as_str().to_owned();
        assert_eq!(stored.len(), 64, "a SHA-256 hash in hex");
        assert_eq!(BackupCodeHash::from_stored(stored), hash);
        for bad in [
            "",
            "123456",
            "01HJ-Z0Z8-9ABC-DEF",
            "01HJ-Z0Z8-9ABC-DEFGH",
            "01HJ-Z0Z8-9ABC-DEFU",
            "01HJ.Z0Z8.9ABC.DEFG",
        ] {
            assert!(BackupCodeHash::parse(bad).is_err(), "{bad}");
        }
    }
}
