//! `POST /api/auth/password-reset/request`. The answer is [`super::RequestedCode`], for every address.

use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use super::Field;
use crate::domain::email_address::EmailAddress;

/// The body of a request for a reset mail.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct ResetRequest {
    /// The address; it need not belong to an account.
    pub email: Field<EmailAddress>,
}
