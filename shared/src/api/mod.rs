//! The API contract: a type for each request body and each answer, named after the endpoint. serde reads and writes
//! them, `validator` checks the requests, `schemars` describes all of them.
//!
//! Each rule is written once, in the domain type it produces: the type's `Parse` returns the rule that a text breaks.
//! So that one answer names every invalid field, a [`Field`] keeps the broken rule instead of failing, and the
//! validation of a request collects them. The crate `deserr`, which collects errors while reading, does not fit: it
//! cannot apply the password policy, which needs the configuration and the other fields; it treats null as missing; and
//! `schemars` does not support it.

mod answer;
pub mod change_password;
pub mod code_confirm;
pub mod code_request;
pub mod delete_account;
mod field;
pub mod login;
pub mod logout;
mod mailed_proof;
pub mod oauth_link;
pub mod oauth_login;
pub mod oauth_start;
pub mod oauth_tokens;
pub mod oauth_unlink;
mod passkey_credential;
pub mod passkey_login;
pub mod passkey_register;
pub mod passkey_remove;
pub mod profile;
pub mod refresh;
pub mod register;
mod requested_code;
pub mod reset_confirm;
pub mod reset_request;
pub mod sessions;
mod signed_in;
mod tokens;
pub mod two_factor_disable;
pub mod two_factor_setup;
pub mod two_factor_undo;
pub mod two_factor_verify;
mod user;
pub mod verify_email;
pub mod verify_resend;

pub use answer::{Detail, Empty, Failure, Success};
pub use field::{Field, FromJson};
pub(crate) use field::{clearable, optional, required};
pub use mailed_proof::MailedProof;
pub use passkey_credential::PasskeyCredential;
pub use requested_code::RequestedCode;
pub use signed_in::SignedIn;
pub use tokens::Tokens;
pub use user::User;

#[cfg(test)]
mod tests {
    use schemars::schema_for;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_says_what_is_parsed() {
        let schema = schema_for!(register::RegisterRequest).to_value();

        assert_eq!(schema["required"], json!(["email", "password"]));
        assert_eq!(schema["additionalProperties"], json!(false));
        let username = &schema["properties"]["username"];
        assert_eq!(
            (&username["minLength"], &username["maxLength"]),
            (&json!(3), &json!(20)),
            "{schema:#}"
        );
        let schema = schema_for!(profile::UpdateProfileRequest).to_value();
        let clears = json!([{ "$ref": "#/$defs/AvatarUrl" }, { "type": "null" }]);
        assert_eq!(schema["properties"]["avatarUrl"]["anyOf"], clears);
        assert_eq!(schema.get("required"), None);
    }
}
