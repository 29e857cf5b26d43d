//! The operations of mailed codes.

use serde_json::json;
use shared::api::SignedIn;
use shared::api::code_confirm::CodeConfirmRequest;
use shared::api::code_request::CodeRequest;

use super::{
    Body, MAILED_TOKEN, Operation, Security, answer, device_token, requested_code, schema, tokens,
    user,
};

const TAG: &str = "Mailed codes";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation {
            method: "post",
            paths: &["/api/auth/code/request"],
            id: "codeRequest",
            summary: "Ask for a mail with a code to sign in with.",
            tag: TAG,
            security: Security::Public,
            body: Body::Required(schema::<CodeRequest>, json!({ "email": "ada@example.com" })),
            answer: requested_code(
                "If this address can sign in, a mail with a code is on its way.",
            ),
            errors: &[(403, "bot_detected")],
        },
        Operation {
            method: "post",
            paths: &["/api/auth/code/confirm"],
            id: "codeConfirm",
            summary: "Sign in with a mailed code and, if it is on, the second factor.",
            tag: TAG,
            security: Security::Public,
            body: Body::Required(
                schema::<CodeConfirmRequest>,
                json!({ "requestToken": MAILED_TOKEN, "code": "123456" }),
            ),
            answer: answer::<SignedIn>(
                "Signed in.",
                &[json!({ "user": user() }), tokens(), device_token()],
            ),
            errors: &[
                (401, "code_invalid"),
                (401, "two_factor_invalid"),
                (403, "two_factor_required"),
                (403, "account_disabled"),
                (403, "password_reset_required"),
                (403, "bot_detected"),
                (429, "account_locked"),
            ],
        },
    ]
}
