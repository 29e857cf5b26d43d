//! The answer of `/_local/info`.

use std::collections::BTreeMap;

use serde::Serialize;

/// The addresses and names of everything that runs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// The API's address.
    pub url: String,
    /// The URL of Redis.
    pub redis_url: String,
    /// The address of DynamoDB.
    pub dynamodb_url: String,
    /// The address of SES.
    pub ses_url: String,
    /// The table of users.
    pub users_table: String,
    /// The table of credentials.
    pub credentials_table: String,
    /// The functions, each with its routes.
    pub functions: BTreeMap<String, Vec<String>>,
    /// The origins whose pages may call the API; `:*` means any port.
    pub origins: Vec<String>,
    /// The addresses of the applications that run beside it, in the order in which they were given.
    pub applications: Vec<String>,
}
