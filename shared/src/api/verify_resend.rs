//! `POST /api/auth/verify-email/resend`. The answer is a message alone, the same for every address.

use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use super::Field;
use crate::domain::email_address::EmailAddress;

/// Whom a mail is asked for.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct VerifyResendRequest {
    /// The address of an account, or of none.
    pub email: Field<EmailAddress>,
}
