//! Use cases shared by several endpoints: authentication, reauthentication, lockout, the second factor, passkeys, other
//! providers, the start of sessions and tokens.

pub mod authentication;
mod data_encryption;
pub mod device;
pub mod email_tokens;
pub mod failures;
pub mod frontends;
pub mod identity_links;
pub mod lockout;
pub mod mailed_codes;
pub mod mailed_links;
pub mod oauth_providers;
pub mod passkeys;
pub mod passwords;
pub mod proven_owners;
pub mod provider_tokens;
pub mod reauthentication;
pub mod refresh_token;
pub mod retry;
pub mod service_authentication;
pub mod sign_in;
pub mod token_issuer;
pub mod tokens;
pub mod two_factor;
pub mod unproven_accounts;
