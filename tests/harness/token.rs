//! Takes tokens apart and forges them, independently of the code under test.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use aws_lc_rs::{hmac, rsa};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use local::mail::Mail;
use serde_json::{Value, json};

/// Returns the header and the claims of a token.
pub fn parts(token: &str) -> (Value, Value) {
    let part = |at: usize| {
        let text = token.split('.').nth(at).expect("three parts");
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64url")).expect("JSON")
    };
    (part(0), part(1))
}

/// A key pair of RSA with 2048 bits.
pub struct KeyPair {
    /// The private key in PKCS#8 and base64.
    pub private: String,
    /// The public key as a JWK without an id.
    pub public: Value,
    pair: RsaKeyPair,
}

impl KeyPair {
    pub fn generate() -> Self {
        let key = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).expect("randomness");
        let der: Pkcs8V1Der = key.as_der().expect("PKCS#8");
        let pair = RsaKeyPair::from_pkcs8(der.as_ref()).expect("a key");
        let components: RsaPublicKeyComponents<Vec<u8>> = pair.public_key().into();
        let [n, e] = [components.n, components.e].map(|number| URL_SAFE_NO_PAD.encode(number));
        Self {
            private: STANDARD.encode(der.as_ref()),
            public: json!({ "kty": "RSA", "n": n, "e": e }),
            pair,
        }
    }

    /// Forges a token with this header and these claims, signed with RSA and SHA-256.
    pub fn forge(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Signs with RSA and SHA-256.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = SystemRandom::new();
        self.pair
            .sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
            .expect("a signature");
        signature
    }

    /// Returns the thumbprint of the public key (RFC 7638).
    pub fn thumbprint(&self) -> String {
        let (n, e) = (&self.public["n"], &self.public["e"]);
        let members = format!(r#"{{"e":{e},"kty":"RSA","n":{n}}}"#);
        URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes()))
    }
}

/// Returns the JSON Web Key Set of these keys.
pub fn key_set(keys: &[&KeyPair]) -> String {
    let keys: Vec<&Value> = keys.iter().map(|key| &key.public).collect();
    json!({ "keys": keys }).to_string()
}

/// Verifies a token's signature (RS256) with a published key, independently of the code under test.
pub fn is_signed_by(token: &str, key: &Value) -> bool {
    let (message, signature) = token.rsplit_once('.').expect("a signature");
    let number = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().expect("a number"));
    let (n, e) = (
        number("n").expect("base64url"),
        number("e").expect("base64url"),
    );
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    RsaPublicKeyComponents { n, e }
        .verify(&RSA_PKCS1_2048_8192_SHA256, message.as_bytes(), &signature)
        .is_ok()
}

fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// Forges a token with this header and these claims, signed with HMAC-SHA256.
pub fn forge(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let message = message(header, claims);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!(
        "{message}.{}",
        URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()))
    )
}

/// Derives a mailed token.
pub fn mailed(secret: &str, purpose: &str, token_id: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hex::encode(hmac::sign(&key, format!("{purpose}{token_id}").as_bytes()))
}

/// Returns the token in a mail: the part of its link after `#token=`.
pub fn in_mail(mail: &Mail) -> String {
    let (_, after) = mail.text.split_once("#token=").expect("a link");
    after.chars().take_while(char::is_ascii_hexdigit).collect()
}

/// Waits until a token has expired.
pub async fn wait_until_expired(token: &str) {
    let exp = parts(token).1["exp"].as_u64().expect("a time");
    let now = || {
        std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("a clock")
    };
    while now().as_secs() < exp {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Waits until the clock shows another millisecond, the resolution of times in the stores.
pub fn wait_for_next_millisecond() {
    let now = || {
        std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("a clock")
    };
    let before = now().as_millis();
    while now().as_millis() <= before + 1 {
        std::thread::yield_now();
    }
}

/// Derives a secret from another one for a purpose: HKDF-SHA256 without a salt (RFC 5869).
pub fn derive(secret: &str, purpose: &str) -> String {
    let sign = |key: &[u8], message: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::sign(&key, message).as_ref().to_vec()
    };
    let extracted = sign(&[0; 32], secret.as_bytes());
    hex::encode(sign(
        &extracted,
        format!("gatehouse {purpose}\u{1}").as_bytes(),
    ))
}
