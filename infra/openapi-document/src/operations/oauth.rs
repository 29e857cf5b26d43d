//! The operations of sign-in with other providers.

use serde_json::{Value, json};
use shared::api::SignedIn;
use shared::api::oauth_link::{OauthLinkAnswer, OauthLinkRequest};
use shared::api::oauth_login::OauthLoginRequest;
use shared::api::oauth_start::{OauthStartAnswer, OauthStartRequest};
use shared::api::oauth_tokens::OauthTokensAnswer;
use shared::api::oauth_unlink::OauthUnlinkRequest;

use super::{
    Answer, Body, MAILED_TOKEN, Operation, Security, TIME, answer, device_token, message, schema,
    tokens, user,
};

const TAG: &str = "Other providers";

/// An identity as its user sees it.
pub(super) fn identity() -> Value {
    json!({ "provider": "google", "email": "ada@example.com", "linkedAt": TIME, "lastUsedAt": null })
}

fn grant() -> Value {
    json!({ "grant": MAILED_TOKEN, "requestToken": MAILED_TOKEN })
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation {
            method: "post",
            paths: &["/api/auth/oauth/start"],
            id: "oauthStart",
            summary: "Begin a sign-in with another provider.",
            tag: TAG,
            security: Security::Public,
            body: Body::Required(schema::<OauthStartRequest>, json!({ "provider": "google" })),
            answer: answer::<OauthStartAnswer>(
                "Open the provider's page.",
                &[json!({
                    "authorizationUrl": "https://accounts.google.com/o/oauth2/v2/auth?response_type=code&client_id=…",
                    "requestToken": MAILED_TOKEN, "expiresIn": 600,
                })],
            ),
            errors: &[(403, "bot_detected"), (404, "not_found")],
        },
        Operation {
            method: "get",
            paths: &["/api/auth/oauth/callback/{provider}"],
            id: "oauthCallback",
            summary: "Where the provider sends the browser, on its way back to the frontend.",
            tag: TAG,
            security: Security::Public,
            body: Body::None,
            answer: Answer::Redirect(303),
            errors: &[],
        },
        Operation {
            method: "post",
            paths: &["/api/auth/oauth/callback/{provider}"],
            id: "oauthCallbackForm",
            summary: "The same, for providers that send a form.",
            tag: TAG,
            security: Security::Public,
            body: Body::None,
            answer: Answer::Redirect(303),
            errors: &[],
        },
        Operation {
            method: "post",
            paths: &["/api/auth/oauth/login"],
            id: "oauthLogin",
            summary: "Sign in with what another provider has said and, if it is on, the second factor.",
            tag: TAG,
            security: Security::Public,
            body: Body::Required(schema::<OauthLoginRequest>, grant()),
            answer: answer::<SignedIn>(
                "Signed in.",
                &[json!({ "user": user() }), tokens(), device_token()],
            ),
            errors: &[
                (401, "oauth_grant_invalid"),
                (401, "two_factor_invalid"),
                (403, "oauth_email_unverified"),
                (403, "two_factor_required"),
                (403, "account_disabled"),
                (403, "password_reset_required"),
                (403, "bot_detected"),
                (409, "identity_taken"),
                (409, "provider_already_linked"),
                (429, "account_locked"),
            ],
        },
        Operation {
            method: "post",
            paths: &["/api/auth/oauth/link"],
            id: "oauthLink",
            summary: "Link an identity of another provider to the account.",
            tag: TAG,
            security: Security::AccessToken,
            body: Body::Required(schema::<OauthLinkRequest>, grant()),
            answer: answer::<OauthLinkAnswer>(
                "The identity is linked.",
                &[json!({ "identity": identity() })],
            ),
            errors: &[
                (403, "email_not_verified"),
                (403, "reauthentication_required"),
                (403, "invalid_credentials"),
                (409, "identity_taken"),
                (409, "provider_already_linked"),
                (429, "account_locked"),
            ],
        },
        Operation {
            method: "delete",
            paths: &["/api/auth/oauth/links/{provider}"],
            id: "oauthUnlink",
            summary: "Unlink an identity of another provider.",
            tag: TAG,
            security: Security::AccessToken,
            body: Body::Optional(schema::<OauthUnlinkRequest>, json!({})),
            answer: message("The identity was unlinked."),
            errors: &[
                (403, "reauthentication_required"),
                (403, "invalid_credentials"),
                (404, "not_found"),
                (409, "last_sign_in_method"),
                (429, "account_locked"),
            ],
        },
        Operation {
            method: "get",
            paths: &["/api/auth/oauth/links/{provider}/tokens"],
            id: "oauthTokens",
            summary: "Read the tokens for the provider's own API, if they are kept.",
            tag: TAG,
            security: Security::AccessToken,
            body: Body::None,
            answer: answer::<OauthTokensAnswer>(
                "The provider's tokens.",
                &[json!({ "providerTokens": {
                    "accessToken": "ya29.a0…", "refreshToken": null, "expiresAt": TIME, "scope": "openid email profile",
                } })],
            ),
            errors: &[(404, "not_found")],
        },
    ]
}
