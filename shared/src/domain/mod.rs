//! The rules of the field, pure: what a valid value is and what may follow from it.

pub mod avatar_url;
pub mod backup_code;
pub mod characters;
pub mod client_address;
pub mod code;
pub mod csrf_token;
pub mod device_token;
pub mod email_address;
pub mod email_token;
pub mod encryption;
pub mod id;
pub mod language;
pub mod origin;
pub mod password;
pub mod password_hash;
pub mod person_name;
pub mod rate_limit;
pub mod rule;
pub mod secret;
pub mod session;
pub mod timestamp;
pub mod token;
pub mod totp;
pub mod user;
pub mod username;
