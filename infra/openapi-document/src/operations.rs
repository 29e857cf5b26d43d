//! The operations of the API: every route of the template, with what it takes and answers.

mod mailed_codes;
mod oauth;
mod passkeys;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};
use shared::api::change_password::{ChangePasswordAnswer, ChangePasswordRequest};
use shared::api::delete_account::DeleteAccountRequest;
use shared::api::login::{LoginAnswer, LoginRequest};
use shared::api::logout::LogoutRequest;
use shared::api::profile::{ProfileAnswer, UpdateProfileAnswer, UpdateProfileRequest};
use shared::api::refresh::{CsrfTokenAnswer, RefreshRequest};
use shared::api::register::{RegisterAnswer, RegisterRequest};
use shared::api::reset_confirm::ResetConfirmRequest;
use shared::api::reset_request::ResetRequest;
use shared::api::sessions::{EndSessionsRequest, SessionsAnswer};
use shared::api::two_factor_disable::TwoFactorDisableRequest;
use shared::api::two_factor_setup::{TwoFactorSetupAnswer, TwoFactorSetupRequest};
use shared::api::two_factor_undo::TwoFactorUndoRequest;
use shared::api::two_factor_verify::{TwoFactorVerifyAnswer, TwoFactorVerifyRequest};
use shared::api::verify_email::VerifyEmailRequest;
use shared::api::verify_resend::VerifyResendRequest;
use shared::api::{Empty, RequestedCode, Success, Tokens};

/// Returns the schema of a type, and adds it to the generator's definitions.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// Who may ask.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Anybody.
    Public,
    /// A signed-in user, by an access token.
    AccessToken,
    /// Anybody; an access token counts as a proof.
    MaybeAccessToken,
    /// A client with a refresh token, in the body or as a cookie.
    RefreshToken,
    /// A client with an access token or a refresh token.
    AnyToken,
    /// A browser, by the cookie.
    Cookie,
    /// A service with its id and secret.
    Service,
}

/// The body of a request.
pub enum Body {
    /// None.
    None,
    /// A JSON object that must be sent.
    Required(SchemaOf, Value),
    /// A JSON object that may be left out.
    Optional(SchemaOf, Value),
    /// A form with a token.
    Form,
}

/// The answer to a successful request.
pub enum Answer {
    /// JSON in the API's own form.
    Json(u16, SchemaOf, Value),
    /// JSON in the form of another standard, with this description of it.
    Standard(Value, Value),
    /// An HTML page.
    Page,
    /// A file of one of these types.
    Files(&'static [&'static str]),
    /// A redirection with this status.
    Redirect(u16),
}

/// An operation.
pub struct Operation {
    /// The method in lower case.
    pub method: &'static str,
    /// The path, and other paths that lead to the same.
    pub paths: &'static [&'static str],
    /// The identifier, from which clients name their functions.
    pub id: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// The group.
    pub tag: &'static str,
    /// Who may ask.
    pub security: Security,
    /// The body of the request.
    pub body: Body,
    /// The answer.
    pub answer: Answer,
    /// The codes of errors besides those that every operation of this kind can answer, with their statuses.
    pub errors: &'static [(u16, &'static str)],
}

const USER_ID: &str = "01JDV3M9XG4T8WZ5K2N7Q6R1YC";
const OTHER_ID: &str = "01JDV3MAB0C1D2E3F4G5H6J7K8";
const TIME: &str = "2026-11-21T10:00:00.000Z";
const MAILED_TOKEN: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";

fn user() -> Value {
    json!({
        "id": USER_ID, "email": "ada@example.com", "username": "ada", "name": "Ada L.", "avatarUrl": null,
        "role": "user", "emailVerified": false, "twoFactorEnabled": false, "createdAt": TIME, "updatedAt": TIME,
        "lastLoginAt": null,
    })
}

fn tokens() -> Value {
    json!({
        "accessToken": "eyJhbGciOiJSUzI1NiIs…", "refreshToken": "eyJhbGciOiJIUzI1NiIs…", "tokenType": "Bearer",
        "expiresIn": 900, "refreshExpiresIn": 604_800,
    })
}

fn device_token() -> Value {
    json!({ "deviceToken": "eyJhbGciOiJIUzI1NiIs…" })
}

/// What binds a mailed code to the client that asked.
fn code_request() -> Value {
    json!({ "requestToken": MAILED_TOKEN, "expiresIn": 600 })
}

fn requested_code(text: &str) -> Answer {
    answer::<RequestedCode>(text, &[code_request()])
}

/// Returns a successful answer with these fields.
fn success(message: &str, fields: &[Value]) -> Value {
    let mut answer = json!({ "success": true, "message": message });
    let fields = fields.iter().filter_map(Value::as_object).flatten();
    for (name, value) in fields {
        answer[name] = value.clone();
    }
    answer
}

/// Returns the 200 with these fields.
fn answer<T: JsonSchema>(text: &str, fields: &[Value]) -> Answer {
    Answer::Json(200, schema::<Success<T>>, success(text, fields))
}

/// Returns the 200 with a message only.
fn message(text: &str) -> Answer {
    answer::<Empty>(text, &[])
}

/// Returns every operation, in the order of the document.
pub fn operations() -> Vec<Operation> {
    let [sign_in, account, sessions, second_factor, services, pages] = [
        "Sign in and out",
        "Account",
        "Sessions",
        "Second factor",
        "Services",
        "Pages",
    ];
    let mut operations = vec![
        Operation {
            method: "post",
            paths: &["/api/auth/register", "/api/auth/signup", "/signup"],
            id: "register",
            summary: "Create an account and, unless the address must be proven first, sign in.",
            tag: sign_in,
            security: Security::Public,
            body: Body::Required(
                schema::<RegisterRequest>,
                json!({ "email": "ada@example.com", "password": "Correct-7-horse", "username": "ada", "name": "Ada L." }),
            ),
            answer: Answer::Json(
                201,
                schema::<Success<RegisterAnswer>>,
                success(
                    "The account was created.",
                    &[
                        json!({ "user": user(), "verification": code_request() }),
                        tokens(),
                        device_token(),
                    ],
                ),
            ),
            errors: &[
                (409, "email_taken"),
                (409, "username_taken"),
                (403, "bot_detected"),
            ],
        },
        Operation {
            method: "post",
            paths: &["/api/auth/login"],
            id: "login",
            summary: "Sign in with a password and, if it is on, the second factor.",
            tag: sign_in,
            security: Security::Public,
            body: Body::Required(
                schema::<LoginRequest>,
                json!({ "identifier": "ada", "password": "Correct-7-horse" }),
            ),
            answer: answer::<LoginAnswer>(
                "Signed in.",
                &[json!({ "user": user() }), tokens(), device_token()],
            ),
            errors: &[
                (401, "invalid_credentials"),
                (401, "two_factor_invalid"),
                (403, "two_factor_required"),
                (403, "email_not_verified"),
                (403, "account_disabled"),
                (403, "password_reset_required"),
                (403, "bot_detected"),
                (429, "account_locked"),
            ],
        },
        Operation {
            method: "post",
            paths: &["/api/auth/refresh"],
            id: "refresh",
            summary: "Exchange the refresh token for new tokens.",
            tag: sign_in,
            security: Security::RefreshToken,
            body: Body::Optional(
                schema::<RefreshRequest>,
                json!({ "refreshToken": "eyJhbGciOiJIUzI1NiIs…" }),
            ),
            answer: answer::<Tokens>("The tokens were renewed.", &[tokens()]),
            errors: &[
                (401, "missing_token"),
                (401, "refresh_token_invalid"),
                (401, "refresh_token_expired"),
                (401, "refresh_token_reused"),
                (403, "csrf_failed"),
                (403, "origin_not_allowed"),
            ],
        },
        Operation {
            method: "post",
            paths: &["/api/auth/csrf-token"],
            id: "csrfToken",
            summary: "Get the session's CSRF token again, in cookie mode.",
            tag: sign_in,
            security: Security::Cookie,
            body: Body::None,
            answer: answer::<CsrfTokenAnswer>(
                "The CSRF token of the session.",
                &[json!({ "csrfToken": "kq3v…" })],
            ),
            errors: &[
                (401, "missing_token"),
                (401, "refresh_token_invalid"),
                (401, "refresh_token_expired"),
                (403, "origin_not_allowed"),
            ],
        },
        Operation {
            method: "post",
            paths: &["/api/auth/logout"],
            id: "logout",
            summary: "End this session, or all sessions of the user.",
            tag: sign_in,
            security: Security::AnyToken,
            body: Body::Optional(schema::<LogoutRequest>, json!({ "allDevices": false })),
            answer: message("Signed out."),
            errors: &[
                (401, "missing_token"),
                (401, "invalid_token"),
                (401, "token_expired"),
                (401, "token_revoked"),
                (401, "refresh_token_invalid"),
                (401, "refresh_token_expired"),
                (403, "csrf_failed"),
                (403, "origin_not_allowed"),
            ],
        },
        Operation {
            method: "get",
            paths: &["/api/auth/profile", "/api/auth/me", "/me"],
            id: "getProfile",
            summary: "Read the user's record as it is now.",
            tag: account,
            security: Security::AccessToken,
            body: Body::None,
            answer: answer::<ProfileAnswer>(
                "The profile.",
                &[
                    json!({ "user": user(), "twoFactor": { "devices": [], "backupCodesLeft": 0 }, "passkeys": [passkeys::passkey()], "identities": [oauth::identity()], "hasPassword": true }),
                ],
            ),
            errors: &[],
        },
        Operation {
            method: "put",
            paths: &["/api/auth/profile"],
            id: "updateProfile",
            summary: "Change username, name or picture.",
            tag: account,
            security: Security::AccessToken,
            body: Body::Optional(
                schema::<UpdateProfileRequest>,
                json!({ "name": "Ada Lovelace", "avatarUrl": null }),
            ),
            answer: answer::<UpdateProfileAnswer>(
                "The profile was changed.",
                &[json!({ "user": user() })],
            ),
            errors: &[(409, "username_taken")],
        },
        Operation {
            method: "delete",
            paths: &["/api/auth/profile"],
            id: "deleteAccount",
            summary: "Delete the account.",
            tag: account,
            security: Security::AccessToken,
            body: Body::Required(
                schema::<DeleteAccountRequest>,
                json!({ "password": "Correct-7-horse" }),
            ),
            answer: message("The account was deleted."),
            errors: &[
                (403, "invalid_credentials"),
                (403, "two_factor_required"),
                (403, "two_factor_invalid"),
                (429, "account_locked"),
            ],
        },
        Operation {
            method: "post",
            paths: &["/api/auth/change-password"],
            id: "changePassword",
            summary: "Change the password; all other sessions end.",
            tag: account,
            security: Security::AccessToken,
            body: Body::Required(
                schema::<ChangePasswordRequest>,
                json!({ "currentPassword": "Correct-7-horse", "newPassword": "Battery-8-staple" }),
            ),
            answer: answer::<ChangePasswordAnswer>("The password was changed.", &[device_token()]),
            errors: &[
                (403, "invalid_credentials"),
                (403, "two_factor_required"),
                (403, "two_factor_invalid"),
                (429, "account_locked"),
            ],
        },
        Operation {
            method: "post",
            paths: &[
                "/api/auth/password-reset/request",
                "/api/auth/forgot-password",
                "/forgot-password",
            ],
            id: "requestPasswordReset",
            summary: "Mail a link and a code to set a new password; the answer is the same for every address.",
            tag: account,
            security: Security::Public,
            body: Body::Required(
                schema::<ResetRequest>,
                json!({ "email": "ada@example.com" }),
            ),
            answer: requested_code(
                "If there is an account with this address, a mail is on its way.",
            ),
            errors: &[(403, "bot_detected")],
        },
        Operation {
            method: "post",
            paths: &[
                "/api/auth/password-reset/confirm",
                "/api/auth/reset-password",
                "/reset-password",
            ],
            id: "confirmPasswordReset",
            summary: "Set a new password with the mailed token or code; all sessions end.",
            tag: account,
            security: Security::Public,
            body: Body::Required(
                schema::<ResetConfirmRequest>,
                json!({ "token": MAILED_TOKEN, "newPassword": "Battery-8-staple" }),
            ),
            answer: message("The password was changed."),
            errors: &[(400, "invalid_reset_token"), (403, "bot_detected")],
        },
        Operation {
            method: "post",
            paths: &["/api/auth/verify-email"],
            id: "verifyEmail",
            summary: "Prove the address with the mailed token or code, or reject the account.",
            tag: account,
            security: Security::MaybeAccessToken,
            body: Body::Required(
                schema::<VerifyEmailRequest>,
                json!({ "token": MAILED_TOKEN }),
            ),
            answer: message("The address is verified."),
            errors: &[
                (400, "invalid_verification_token"),
                (401, "invalid_token"),
                (401, "token_expired"),
                (401, "token_revoked"),
                (403, "confirmation_required"),
                (403, "invalid_credentials"),
                (403, "bot_detected"),
                (429, "account_locked"),
            ],
        },
        Operation {
            method: "post",
            paths: &["/api/auth/verify-email/resend"],
            id: "resendVerification",
            summary: "Mail the link and a code again; the answer is the same for every address.",
            tag: account,
            security: Security::Public,
            body: Body::Required(
                schema::<VerifyResendRequest>,
                json!({ "email": "ada@example.com" }),
            ),
            answer: requested_code(
                "If there is something to verify about this address, a mail is on its way.",
            ),
            errors: &[(403, "bot_detected")],
        },
        Operation {
            method: "get",
            paths: &["/api/auth/sessions"],
            id: "listSessions",
            summary: "List the user's sessions and devices.",
            tag: sessions,
            security: Security::AccessToken,
            body: Body::None,
            answer: answer::<SessionsAnswer>(
                "The sessions.",
                &[json!({
                    "sessions": [{
                        "id": OTHER_ID, "createdAt": TIME, "lastUsedAt": TIME, "ip": "192.0.2.1",
                        "userAgent": "Mozilla/5.0", "current": true,
                    }],
                    "devices": [{
                        "id": OTHER_ID, "createdAt": TIME, "lastUsedAt": TIME, "ip": "192.0.2.1",
                        "userAgent": "Mozilla/5.0",
                    }],
                })],
            ),
            errors: &[],
        },
        Operation {
            method: "delete",
            paths: &["/api/auth/sessions"],
            id: "endOtherSessions",
            summary: "End all sessions but this one.",
            tag: sessions,
            security: Security::AccessToken,
            body: Body::Optional(schema::<EndSessionsRequest>, json!({})),
            answer: message("All other sessions were ended."),
            errors: &[],
        },
        Operation {
            method: "delete",
            paths: &["/api/auth/sessions/{id}"],
            id: "endSession",
            summary: "End a session, or forget a device.",
            tag: sessions,
            security: Security::AccessToken,
            body: Body::Optional(schema::<EndSessionsRequest>, json!({})),
            answer: message("The session was ended."),
            errors: &[(404, "not_found")],
        },
        Operation {
            method: "post",
            paths: &["/api/auth/2fa/setup"],
            id: "setUpTwoFactor",
            summary: "Begin to set up an authenticator app.",
            tag: second_factor,
            security: Security::AccessToken,
            body: Body::Optional(
                schema::<TwoFactorSetupRequest>,
                json!({ "deviceName": "Phone" }),
            ),
            answer: answer::<TwoFactorSetupAnswer>(
                "Scan the code and confirm it.",
                &[json!({
                    "secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
                    "otpauthUrl": "otpauth://totp/Gatehouse:ada%40example.com?secret=JBSWY3DP…&issuer=Gatehouse",
                    "qrCodeUrl": "data:image/png;base64,iVBORw0KGgo…", "deviceId": OTHER_ID,
                })],
            ),
            errors: &[
                (403, "reauthentication_required"),
                (403, "invalid_credentials"),
                (403, "two_factor_required"),
                (403, "two_factor_invalid"),
                (429, "account_locked"),
            ],
        },
        Operation {
            method: "post",
            paths: &["/api/auth/2fa/verify"],
            id: "verifyTwoFactor",
            summary: "Confirm an authenticator app, or make new backup codes.",
            tag: second_factor,
            security: Security::AccessToken,
            body: Body::Required(
                schema::<TwoFactorVerifyRequest>,
                json!({ "token": "123456", "deviceId": OTHER_ID }),
            ),
            answer: answer::<TwoFactorVerifyAnswer<'static>>(
                "Two-factor authentication is on.",
                &[json!({ "backupCodes": ["abcd-efgh-jkmn"] })],
            ),
            errors: &[
                (400, "two_factor_not_enabled"),
                (403, "reauthentication_required"),
                (403, "invalid_credentials"),
                (403, "two_factor_required"),
                (403, "two_factor_invalid"),
                (404, "not_found"),
                (409, "two_factor_already_enabled"),
                (429, "account_locked"),
            ],
        },
        Operation {
            method: "post",
            paths: &["/api/auth/2fa/disable"],
            id: "disableTwoFactor",
            summary: "Turn the second factor off, or remove one device.",
            tag: second_factor,
            security: Security::AccessToken,
            body: Body::Required(
                schema::<TwoFactorDisableRequest>,
                json!({ "token": "123456" }),
            ),
            answer: message("Two-factor authentication is off."),
            errors: &[
                (400, "two_factor_not_enabled"),
                (403, "two_factor_invalid"),
                (404, "not_found"),
                (429, "account_locked"),
            ],
        },
        Operation {
            method: "post",
            paths: &["/api/auth/2fa/undo"],
            id: "undoTwoFactor",
            summary: "Turn the second factor off with the mailed token.",
            tag: second_factor,
            security: Security::Public,
            body: Body::Required(
                schema::<TwoFactorUndoRequest>,
                json!({ "token": MAILED_TOKEN }),
            ),
            answer: message("Two-factor authentication is off."),
            errors: &[(400, "invalid_verification_token"), (403, "bot_detected")],
        },
    ];
    operations.extend(mailed_codes::operations());
    operations.extend(passkeys::operations());
    operations.extend(oauth::operations());
    operations.extend([
        Operation {
            method: "post",
            paths: &["/api/auth/introspect"],
            id: "introspect",
            summary: "Ask whether a token is valid (RFC 7662).",
            tag: services,
            security: Security::Service,
            body: Body::Form,
            answer: Answer::Standard(
                json!({
                    "type": "object", "required": ["active"],
                    "properties": { "active": { "type": "boolean", "description": "Whether it is a valid access token of a live session." } },
                    "description": "With a valid token also its claims, with the user's present role.",
                }),
                json!({ "active": true, "sub": USER_ID, "sid": OTHER_ID, "role": "user", "exp": 1_795_256_100 }),
            ),
            errors: &[],
        },
        Operation {
            method: "post",
            paths: &["/api/auth/revoke"],
            id: "revoke",
            summary: "End the session of a token (RFC 7009).",
            tag: services,
            security: Security::Service,
            body: Body::Form,
            answer: Answer::Standard(json!({ "type": "object" }), json!({})),
            errors: &[],
        },
        Operation {
            method: "get",
            paths: &["/.well-known/jwks.json"],
            id: "publicKeys",
            summary: "The public keys of access tokens (RFC 7517).",
            tag: services,
            security: Security::Public,
            body: Body::None,
            answer: Answer::Standard(
                json!({ "type": "object", "required": ["keys"], "properties": { "keys": { "type": "array", "items": { "type": "object" } } } }),
                json!({ "keys": [{ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", "n": "0vx7…", "e": "AQAB" }] }),
            ),
            errors: &[],
        },
        Operation {
            method: "get",
            paths: &["/.well-known/openid-configuration"],
            id: "discovery",
            summary: "Where the keys are (OpenID Connect Discovery 1.0).",
            tag: services,
            security: Security::Public,
            body: Body::None,
            answer: Answer::Standard(
                json!({ "type": "object", "required": ["issuer", "jwks_uri"], "properties": { "issuer": { "type": "string" }, "jwks_uri": { "type": "string" } } }),
                json!({ "issuer": "https://auth.example.com", "jwks_uri": "https://auth.example.com/.well-known/jwks.json" }),
            ),
            errors: &[(404, "not_found")],
        },
        Operation {
            method: "get",
            paths: &["/.well-known/change-password"],
            id: "changePasswordPage",
            summary: "The frontend's page to change the password, for password managers.",
            tag: pages,
            security: Security::Public,
            body: Body::None,
            answer: Answer::Redirect(302),
            errors: &[],
        },
        Operation {
            method: "get",
            paths: &["/api/auth/openapi.json"],
            id: "openapiDocument",
            summary: "This document.",
            tag: pages,
            security: Security::Public,
            body: Body::None,
            answer: Answer::Standard(
                json!({ "type": "object", "required": ["openapi", "paths"] }),
                json!({ "openapi": "3.1.0", "info": { "title": "Gatehouse", "version": "0.1.0" }, "paths": {} }),
            ),
            errors: &[],
        },
        Operation {
            method: "get",
            paths: &["/api/auth/docs"],
            id: "docsPage",
            summary: "The page that shows this document.",
            tag: pages,
            security: Security::Public,
            body: Body::None,
            answer: Answer::Page,
            errors: &[],
        },
        Operation {
            method: "get",
            paths: &["/api/auth/docs/{file}"],
            id: "docsFile",
            summary: "A script or style of that page.",
            tag: pages,
            security: Security::Public,
            body: Body::None,
            answer: Answer::Files(&["text/css", "text/javascript"]),
            errors: &[(404, "not_found")],
        },
        Operation {
            method: "get",
            paths: &["/errors"],
            id: "errorsPage",
            summary: "The page about all error codes.",
            tag: pages,
            security: Security::Public,
            body: Body::None,
            answer: Answer::Page,
            errors: &[],
        },
        Operation {
            method: "get",
            paths: &["/errors/{code}"],
            id: "errorPage",
            summary: "The page about an error code.",
            tag: pages,
            security: Security::Public,
            body: Body::None,
            answer: Answer::Page,
            errors: &[(404, "not_found")],
        },
    ]);
    operations
}
