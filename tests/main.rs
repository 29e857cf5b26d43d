//! End-to-end tests, through HTTP against the real binaries: one file for each endpoint, named like it, and one for
//! each topic that concerns all endpoints.
//!
//! `cargo test` runs them against systems of their own; `GATEHOUSE_URL=https://… cargo test` runs them against a
//! deployment, where tests that need to look inside are skipped and say so.
//!
//! "security.md 19" and the like name a line of the list in docs/security.md.

mod authentication;
mod authorizer;
mod bots;
mod browser;
mod change_password;
mod claims;
mod code_confirm;
mod code_request;
mod console;
mod cookie_mode;
mod delete_account;
mod documentation;
mod errors;
mod events;
mod examples;
mod input;
mod introspect;
mod journey;
mod jwks;
mod key_rotation;
mod kms;
mod leaked_passwords;
mod local_stack;
mod lockout;
mod login;
mod logout;
mod mail_events;
mod mailer;
mod not_found;
mod oauth_callback;
mod oauth_link;
mod oauth_login;
mod oauth_start;
mod oauth_tokens;
mod oauth_unlink;
mod openapi;
mod outages;
mod passkey_login;
mod passkey_register;
mod passkey_remove;
mod policies;
mod profile;
mod rate_limits;
mod redis_cluster;
mod refresh;
mod register;
mod reset_confirm;
mod reset_request;
mod revocation;
mod revoke;
mod round_trips;
mod sessions;
mod telemetry;
mod templates;
mod two_factor_disable;
mod two_factor_login;
mod two_factor_setup;
mod two_factor_undo;
mod two_factor_verify;
mod verify_email;
mod verify_resend;
mod well_known;
