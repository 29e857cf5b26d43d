//! `POST /api/auth/oauth/link`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::profile::Identity;
use super::{Field, optional};
use crate::domain::email_token::TokenHash;
use crate::domain::grant_token::GrantToken;
use crate::domain::password::Password;

/// The body of a link.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct OauthLinkRequest {
    /// The value with which the browser came back.
    pub grant: Field<GrantToken>,
    /// The value that the client kept.
    pub request_token: Field<TokenHash>,
    /// The caller's password; required if the sign-in is not recent.
    #[serde(default, deserialize_with = "optional")]
    pub password: Option<Field<Password>>,
}

/// The linked identity.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OauthLinkAnswer {
    /// The identity.
    pub identity: Identity,
}
