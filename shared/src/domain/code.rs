//! A code of the second factor: from an app, or from paper.

use schemars::JsonSchema;
use validator::ValidationError;

use super::backup_code::BackupCodeHash;
use super::rule::{Parse, rule};
use super::totp::TotpCode;

/// What a client sends as a code.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum Code {
    /// From an app.
    Totp(TotpCode),
    /// From paper.
    Backup(BackupCodeHash),
}

impl Parse for Code {
    fn parse(text: &str) -> Result<Self, ValidationError> {
        let backup = |_| BackupCodeHash::parse(text).map(Self::Backup);
        let either = TotpCode::parse(text).map(Self::Totp).or_else(backup);
        either.map_err(|_| rule("invalid_code", "must be six digits or a backup code"))
    }
}
