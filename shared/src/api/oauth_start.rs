//! `POST /api/auth/oauth/start`.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::Field;
use super::tokens::exposed;
use crate::domain::provider::ProviderName;

/// The body of the beginning of a sign-in with another provider.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct OauthStartRequest {
    /// The provider, by its name in the configuration.
    pub provider: Field<ProviderName>,
}

/// The page to open, and the value that binds its result to this client.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OauthStartAnswer {
    /// The provider's page. The browser goes there, and comes back to the front end.
    #[schemars(url)]
    pub authorization_url: String,
    /// A value that the client keeps: the result works only together with it.
    #[serde(serialize_with = "exposed")]
    #[schemars(with = "String")]
    pub request_token: SecretString,
    /// The seconds until the sign-in must be finished.
    pub expires_in: u64,
}
