//! The account and the region of the functions, and the ids of requests.

/// The region.
pub const REGION: &str = "us-east-1";
/// The account.
pub const ACCOUNT: &str = "000000000000";

/// Returns a UUID, the form of Lambda's and API Gateway's request ids.
pub fn request_id() -> String {
    let text = random_hex();
    format!(
        "{}-{}-4{}-8{}-{}",
        &text[..8],
        &text[8..12],
        &text[13..16],
        &text[17..20],
        &text[20..]
    )
}

/// Returns 32 random hexadecimal digits.
pub fn random_hex() -> String {
    let mut bytes = [0_u8; 16];
    // Without randomness only the ids repeat.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    hex::encode(bytes)
}
