//! `GET /api/auth/oauth/links/{provider}/tokens`.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::provider::ProviderTokens;
use crate::domain::timestamp::Timestamp;

/// The tokens that a provider has issued for its own API.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OauthTokensAnswer {
    /// The provider's tokens of the last sign-in with it.
    pub provider_tokens: Tokens,
}

/// The tokens of a provider.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ProviderTokens")]
pub struct Tokens {
    /// The access token for the provider's API.
    pub access_token: String,
    /// The refresh token, if the provider has issued one.
    pub refresh_token: Option<String>,
    /// When the access token expires, if the provider has said it.
    pub expires_at: Option<Timestamp>,
    /// What the access token is for, if the provider has said it.
    pub scope: Option<String>,
}

impl From<ProviderTokens> for Tokens {
    fn from(tokens: ProviderTokens) -> Self {
        Self {
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            expires_at: tokens.expires_at,
            scope: tokens.scope,
        }
    }
}
