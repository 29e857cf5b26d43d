//! Takes tokens apart and forges them, independently of the code under test.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use local::mail::Mail;
use serde_json::Value;

/// Returns the header and the claims of a token.
pub fn parts(token: &str) -> (Value, Value) {
    let part = |at: usize| {
        let text = token.split('.').nth(at).expect("three parts");
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64url")).expect("JSON")
    };
    (part(0), part(1))
}

/// Forges a token with this header and these claims, signed with HMAC-SHA256.
pub fn forge(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
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
