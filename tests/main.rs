//! End-to-end tests, through HTTP against the real binaries: one file per endpoint, named like it,
//! and one for each thing that concerns them all.
//!
//! `cargo test` runs them against a system of their own; `GATEHOUSE_URL=https://… cargo test` against
//! a deployment, where tests that need to look inside are skipped and say so.
//!
//! "security.md 19" and the like name a line of the design's list of what a security test must find.

mod authentication;
mod bots;
mod browser;
#[path = "change-password.rs"]
mod change_password;
mod cookie_mode;
#[path = "delete-account.rs"]
mod delete_account;
mod documentation;
mod errors;
mod events;
mod input;
mod journey;
mod local_stack;
mod lockout;
mod login;
mod logout;
#[path = "mail-events.rs"]
mod mail_events;
mod mailer;
#[path = "not-found.rs"]
mod not_found;
mod outages;
mod policies;
mod profile;
mod rate_limits;
mod redis_cluster;
mod refresh;
mod register;
#[path = "reset-confirm.rs"]
mod reset_confirm;
#[path = "reset-request.rs"]
mod reset_request;
mod revocation;
mod round_trips;
mod sessions;
mod telemetry;
mod templates;
#[path = "two-factor-disable.rs"]
mod two_factor_disable;
mod two_factor_login;
#[path = "two-factor-setup.rs"]
mod two_factor_setup;
#[path = "two-factor-undo.rs"]
mod two_factor_undo;
#[path = "two-factor-verify.rs"]
mod two_factor_verify;
#[path = "verify-email.rs"]
mod verify_email;
#[path = "verify-resend.rs"]
mod verify_resend;
#[path = "well-known.rs"]
mod well_known;
