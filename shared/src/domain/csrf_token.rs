//! CSRF tokens, which a page must send in addition to the cookie. A token proves that the page could read our answers,
//! which pages of other origins cannot. Derived from the session, so that it stays the same for the session's life.

use aws_lc_rs::{constant_time, hmac};
use secrecy::{ExposeSecret, SecretString};

use super::secret;
use super::session::SessionId;

/// Derives and verifies the CSRF tokens of sessions.
pub struct CsrfTokens {
    /// The keys, the current one first.
    keys: Vec<hmac::Key>,
}

impl CsrfTokens {
    /// Derives the keys from these secrets; tokens under the previous secret stay valid.
    pub fn new(secret: &SecretString, previous: Option<&SecretString>) -> Self {
        let key = |secret: &SecretString| {
            let derived = secret::derive(secret, "csrf token");
            hmac::Key::new(hmac::HMAC_SHA256, derived.expose_secret().as_bytes())
        };
        let secrets = std::iter::once(secret).chain(previous);
        Self {
            keys: secrets.map(key).collect(),
        }
    }

    /// Returns the session's token: 64 hexadecimal characters.
    pub fn token(&self, session: SessionId) -> SecretString {
        SecretString::from(derive(&self.keys[0], session))
    }

    /// Returns whether this is the session's token.
    pub fn verify(&self, session: SessionId, token: &str) -> bool {
        let is_equal = |key: &hmac::Key| {
            let expected = derive(key, session);
            constant_time::verify_slices_are_equal(expected.as_bytes(), token.as_bytes()).is_ok()
        };
        self.keys.iter().any(is_equal)
    }
}

fn derive(key: &hmac::Key, session: SessionId) -> String {
    hex::encode(hmac::sign(key, session.to_string().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::Id;
    use crate::domain::timestamp::Timestamp;

    #[test]
    fn a_token_is_its_sessions_alone_and_survives_a_rotation_of_the_secret() {
        let (old, new) = (
            SecretString::from("o".repeat(32)),
            SecretString::from("n".repeat(32)),
        );
        let id = |random: u8| Id::new(Timestamp::from_milliseconds(1), [random; 16]);
        let before = CsrfTokens::new(&old, None);
        let after = CsrfTokens::new(&new, Some(&old));
        let token = before.token(id(1));

        assert!(
            before.verify(id(1), token.expose_secret())
                && after.verify(id(1), token.expose_secret())
        );
        assert!(!before.verify(id(2), token.expose_secret()));
        assert!(
            !before.verify(id(1), "") && !before.verify(id(1), after.token(id(1)).expose_secret())
        );
    }
}
