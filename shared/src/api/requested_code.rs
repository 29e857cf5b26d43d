//! The answer to a request for a mail with a code.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Serialize;

use super::tokens::exposed;

/// The value that binds the code to this client.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestedCode {
    /// A value that the client keeps: the code works only together with it.
    #[serde(serialize_with = "exposed")]
    #[schemars(with = "String")]
    pub request_token: SecretString,
    /// The seconds until the code expires.
    pub expires_in: u64,
}
