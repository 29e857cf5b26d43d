//! `POST /api/auth/code/request`. The answer has the same form for every address.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::Field;
use super::tokens::exposed;
use crate::domain::email_address::EmailAddress;

/// The body of a request for a mailed code.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct CodeRequest {
    /// The address; it need not belong to an account.
    pub email: Field<EmailAddress>,
}

/// The value that binds the code to this client.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CodeRequestAnswer {
    /// A value that the client keeps: the code works only together with it.
    #[serde(serialize_with = "exposed")]
    #[schemars(with = "String")]
    pub request_token: SecretString,
    /// The seconds until the code expires.
    pub expires_in: u64,
}
