//! `POST /api/auth/oauth/login`. The answer is [`super::SignedIn`].

use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use super::{Field, optional};
use crate::domain::code::Code;
use crate::domain::email_token::TokenHash;
use crate::domain::grant_token::GrantToken;

/// The body of a sign-in with another provider.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct OauthLoginRequest {
    /// The value with which the browser came back.
    pub grant: Field<GrantToken>,
    /// The value that the client kept.
    pub request_token: Field<TokenHash>,
    /// Six digits of an authenticator app, or a backup code.
    #[serde(default, deserialize_with = "optional")]
    pub two_factor_token: Option<Field<Code>>,
    /// Whether the session should last longer.
    #[serde(default, deserialize_with = "optional")]
    pub remember_me: Option<Field<bool>>,
}
