//! The account and the region of the functions, their names there, and the ids of requests.

/// The region.
pub const REGION: &str = "us-east-1";
/// The account.
pub const ACCOUNT: &str = "000000000000";

/// The name of the stack.
pub const STACK: &str = "local";
/// The alias by which API Gateway and DynamoDB invoke a function.
pub const LIVE: &str = "live";

/// Returns the ARN of a function's alias.
pub fn function_arn(function: &str, alias: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{STACK}-{function}:{alias}")
}

/// Returns the function and the alias of such an ARN.
pub fn function_and_alias(arn: &str) -> Option<(&str, &str)> {
    let (_, name) = arn.split_once(":function:")?;
    let name = name.strip_prefix(STACK)?.strip_prefix('-')?;
    name.split_once(':')
}

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
