//! A verified code, and the writes that use it up.

use super::device_secrets::Reencrypted;
use crate::auth::lockout::Attempt;
use crate::domain::backup_code::BackupCodeHash;
use crate::domain::client_info::ClientInfo;
use crate::domain::encryption::Sealed;
use crate::domain::totp::Step;
use crate::domain::user::UserId;
use crate::store::audit::Event;
use crate::store::items::TransactWriteItem;
use crate::store::two_factor::TwoFactorStore;

/// A verified code. Add [`VerifiedCode::write`] to the transaction that it authorises, so that the code is used up
/// exactly when that transaction commits.
pub struct VerifiedCode {
    pub(super) kind: CodeKind,
    pub(super) user_id: UserId,
    pub(super) event: Event,
    pub(super) attempt: Attempt,
    /// The other devices whose secrets are encrypted under the previous key.
    pub(super) outdated: Vec<Reencrypted>,
}

/// The kind of a verified code.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CodeKind {
    Step {
        device: String,
        step: Step,
        resealed: Option<Sealed>,
    },
    BackupCode(BackupCodeHash),
}

impl VerifiedCode {
    /// Returns whether it is a backup code: its use is mailed to the owner and ends the other sessions.
    pub fn is_backup_code(&self) -> bool {
        matches!(self.kind, CodeKind::BackupCode(_))
    }

    /// Returns the write that uses the code up.
    pub fn write(&self, store: &TwoFactorStore, client: &ClientInfo) -> TransactWriteItem {
        match &self.kind {
            CodeKind::Step {
                device,
                step,
                resealed,
            } => store.use_step(self.user_id, device, *step, resealed.as_ref()),
            CodeKind::BackupCode(hash) => {
                store.use_backup_code(self.user_id, hash, client.received_at)
            }
        }
    }

    /// Returns the write that removes a device; if the code is this device's, the same write uses it up.
    pub fn remove_device(&self, store: &TwoFactorStore, device: &str) -> TransactWriteItem {
        match &self.kind {
            CodeKind::Step {
                device: own, step, ..
            } if own == device => store.remove_device_by_step(self.user_id, device, *step),
            _ => store.remove_device(self.user_id, device),
        }
    }

    /// Returns the write that removes a backup code; if the code is this one, the same write uses it up.
    pub fn remove_backup_code(
        &self,
        store: &TwoFactorStore,
        hash: &BackupCodeHash,
    ) -> TransactWriteItem {
        match &self.kind {
            CodeKind::BackupCode(own) if own == hash => {
                store.remove_unused_backup_code(self.user_id, hash)
            }
            _ => store.remove_backup_code(self.user_id, hash),
        }
    }

    /// Returns whether removing this backup code uses the code up as well.
    pub fn matches_backup_code(&self, hash: &BackupCodeHash) -> bool {
        matches!(&self.kind, CodeKind::BackupCode(own) if own == hash)
    }

    /// Returns whether removing this device uses the code up as well.
    pub fn matches_device(&self, id: &str) -> bool {
        matches!(&self.kind, CodeKind::Step { device, .. } if device == id)
    }
}
