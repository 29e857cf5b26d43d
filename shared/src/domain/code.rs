//! Codes of the second factor: TOTP codes and backup codes.

use schemars::JsonSchema;
use validator::ValidationError;

use super::backup_code::BackupCodeHash;
use super::rule::{Parse, rule};
use super::totp::TotpCode;

/// A code sent by a client.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum Code {
    /// A code from an authenticator app.
    Totp(TotpCode),
    /// A backup code.
    Backup(BackupCodeHash),
}

impl Parse for Code {
    fn parse(text: &str) -> Result<Self, ValidationError> {
        let backup = |_| BackupCodeHash::parse(text).map(Self::Backup);
        let either = TotpCode::parse(text).map(Self::Totp).or_else(backup);
        either.map_err(|_| rule("invalid_code", "must be six digits or a backup code"))
    }
}
