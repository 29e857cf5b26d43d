//! `POST /api/auth/verify-email/resend`. The answer is [`super::RequestedCode`], for every address.

use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use super::Field;
use crate::domain::email_address::EmailAddress;

/// The body of a request for another verification mail.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct VerifyResendRequest {
    /// The address; it need not belong to an account.
    pub email: Field<EmailAddress>,
}
