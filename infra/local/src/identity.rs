//! The account and the region that the functions are in, and the identifiers of requests.

/// The region.
pub const REGION: &str = "us-east-1";
/// The account.
pub const ACCOUNT: &str = "000000000000";

/// A UUID: Lambda and API Gateway name requests by one.
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

/// 32 hexadecimal digits.
pub fn random_hex() -> String {
    let mut bytes = [0_u8; 16];
    // Without randomness the identifiers repeat, and nothing else happens.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    hex::encode(bytes)
}
