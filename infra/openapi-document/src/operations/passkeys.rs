//! The operations of passkeys.

use serde_json::{Value, json};
use shared::api::SignedIn;
use shared::api::passkey_login::{PasskeyLoginOptionsRequest, PasskeyLoginRequest};
use shared::api::passkey_register::{
    PasskeyOptionsAnswer, PasskeyRegisterAnswer, PasskeyRegisterOptionsRequest,
    PasskeyRegisterRequest,
};
use shared::api::passkey_remove::PasskeyRemoveRequest;

use super::{
    Answer, Body, OTHER_ID, Operation, Security, TIME, answer, device_token, message, schema,
    tokens, user,
};

const TAG: &str = "Passkeys";

/// A passkey as its user sees it.
pub(super) fn passkey() -> Value {
    json!({ "id": OTHER_ID, "name": "Laptop", "createdAt": TIME, "lastUsedAt": null })
}

/// The answer of an authenticator, with this field of its own.
fn credential(field: &str) -> Value {
    json!({
        "id": "AZkV8qT2…", "rawId": "AZkV8qT2…", "type": "public-key",
        "response": { "clientDataJSON": "eyJ0eXBlIjoi…", field: "o2NmbXRkbm9u…" }, "clientExtensionResults": {},
    })
}

fn options(field: &str, value: &Value) -> Answer {
    let public_key =
        json!({ "challenge": "uGZkW8yS…", field: value, "timeout": 300_000, "extensions": {} });
    answer::<PasskeyOptionsAnswer>("The options.", &[json!({ "publicKey": public_key })])
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation {
            method: "post",
            paths: &["/api/auth/passkeys/register/options"],
            id: "passkeyRegisterOptions",
            summary: "Begin to add a passkey.",
            tag: TAG,
            security: Security::AccessToken,
            body: Body::Optional(schema::<PasskeyRegisterOptionsRequest>, json!({})),
            answer: options(
                "rp",
                &json!({ "id": "app.example.com", "name": "Gatehouse" }),
            ),
            errors: &[
                (403, "email_not_verified"),
                (403, "reauthentication_required"),
                (403, "invalid_credentials"),
                (403, "two_factor_required"),
                (403, "two_factor_invalid"),
                (404, "not_found"),
                (429, "account_locked"),
            ],
        },
        Operation {
            method: "post",
            paths: &["/api/auth/passkeys/register"],
            id: "passkeyRegister",
            summary: "Add a passkey, with the answer of navigator.credentials.create().",
            tag: TAG,
            security: Security::AccessToken,
            body: Body::Required(
                schema::<PasskeyRegisterRequest>,
                json!({ "credential": credential("attestationObject"), "name": "Laptop" }),
            ),
            answer: answer::<PasskeyRegisterAnswer>(
                "The passkey was added.",
                &[json!({ "passkey": passkey() })],
            ),
            errors: &[(403, "email_not_verified"), (404, "not_found")],
        },
        Operation {
            method: "post",
            paths: &["/api/auth/passkeys/login/options"],
            id: "passkeyLoginOptions",
            summary: "Begin to sign in with a passkey.",
            tag: TAG,
            security: Security::Public,
            body: Body::Optional(schema::<PasskeyLoginOptionsRequest>, json!({})),
            answer: options("rpId", &json!("app.example.com")),
            errors: &[(403, "bot_detected"), (404, "not_found")],
        },
        Operation {
            method: "post",
            paths: &["/api/auth/passkeys/login"],
            id: "passkeyLogin",
            summary: "Sign in with the answer of navigator.credentials.get().",
            tag: TAG,
            security: Security::Public,
            body: Body::Required(
                schema::<PasskeyLoginRequest>,
                json!({ "credential": credential("signature") }),
            ),
            answer: answer::<SignedIn>(
                "Signed in.",
                &[json!({ "user": user() }), tokens(), device_token()],
            ),
            errors: &[
                (401, "passkey_invalid"),
                (403, "email_not_verified"),
                (403, "account_disabled"),
                (403, "password_reset_required"),
                (403, "bot_detected"),
                (404, "not_found"),
            ],
        },
        Operation {
            method: "delete",
            paths: &["/api/auth/passkeys/{id}"],
            id: "passkeyRemove",
            summary: "Remove a passkey.",
            tag: TAG,
            security: Security::AccessToken,
            body: Body::Optional(schema::<PasskeyRemoveRequest>, json!({})),
            answer: message("The passkey was removed."),
            errors: &[
                (403, "reauthentication_required"),
                (403, "invalid_credentials"),
                (404, "not_found"),
                (429, "account_locked"),
            ],
        },
    ]
}
