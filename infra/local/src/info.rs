//! The answer of `/_local/info`.

use std::collections::BTreeMap;

use serde::Serialize;

/// Where everything is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// Where the API answers.
    pub url: String,
    /// Where the sessions are.
    pub redis_url: String,
    /// Where the tables are.
    pub dynamodb_url: String,
    /// Where mails are handed over.
    pub ses_url: String,
    /// The table of users.
    pub users_table: String,
    /// The table of credentials.
    pub credentials_table: String,
    /// The functions, each with its routes.
    pub functions: BTreeMap<String, Vec<String>>,
}
