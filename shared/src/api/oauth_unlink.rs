//! `DELETE /api/auth/oauth/links/{provider}`. The answer is only a message.

use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use super::{Field, optional};
use crate::domain::password::Password;

/// The body of an unlinking; it may be left out.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct OauthUnlinkRequest {
    /// The caller's password; required if the sign-in is not recent.
    #[serde(default, deserialize_with = "optional")]
    pub password: Option<Field<Password>>,
}
