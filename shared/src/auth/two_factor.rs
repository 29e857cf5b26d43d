//! The second factor of a user: verifies codes and uses them up.

use secrecy::SecretString;

use super::lockout::{Attempt, CodeLockout};
use super::reauthentication::record_failure;
use super::retry::Refusal;
use crate::config::Environment;
use crate::domain::backup_code::{self, BackupCodeHash};
use crate::domain::client_info::ClientInfo;
use crate::domain::code::Code;
use crate::domain::encryption::{Cipher, Sealed};
use crate::domain::rule::rule;
use crate::domain::totp::{Step, TotpCode, TotpSecret};
use crate::domain::user::{MAX_TWO_FACTOR_DEVICES, User, UserId};
use crate::error::ApiError;
use crate::store::Error;
use crate::store::audit::{Audit, Event};
use crate::store::dynamodb::{Collision, DynamoDb, Write};
use crate::store::items::TransactWriteItem;
use crate::store::outbox::{Kind, Links, Outbox};
use crate::store::two_factor::{BackupCode, StoredDevice, TwoFactorStore};
use crate::{random, timing};

/// Verifies the codes of the second factor.
pub struct TwoFactor {
    /// The devices and backup codes.
    pub store: TwoFactorStore,
    /// Decrypts the secrets of devices.
    cipher: Cipher,
    /// Counts wrong codes of devices and backup codes together.
    lockout: CodeLockout,
    audit: Audit,
    outbox: Outbox,
    dynamodb: DynamoDb,
}

/// Why a change authorised by a code was not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The code was used meanwhile.
    CodeUsed,
    /// The device was confirmed meanwhile.
    AlreadyConfirmed,
    /// The record has changed since it was read.
    Stale,
}

impl Refusal for Refused {
    fn is_stale(&self) -> bool {
        *self == Self::Stale
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::CodeUsed => Self::TwoFactorUsed,
            Refused::AlreadyConfirmed => Self::TwoFactorAlreadyEnabled,
            Refused::Stale => Self::ServiceUnavailable("the record was changed meanwhile".into()),
        }
    }
}

/// A verified code. Add [`VerifiedCode::write`] to the transaction that it authorises, so that the code is used up
/// exactly when that transaction commits.
pub struct VerifiedCode {
    kind: CodeKind,
    user_id: UserId,
    event: Event,
    attempt: Attempt,
    /// The other devices whose secrets are encrypted under the previous key: device id, stored secret, newly encrypted
    /// secret.
    outdated: Vec<(String, Sealed, Sealed)>,
}

enum CodeKind {
    Step {
        device: String,
        step: Step,
        resealed: Option<Sealed>,
    },
    BackupCode(BackupCodeHash),
}

impl TwoFactor {
    /// Reads `DATA_ENCRYPTION_KEY`, `DATA_ENCRYPTION_KEY_PREVIOUS` and the variables of the lockout and of both tables.
    pub fn from_env(environment: &mut Environment) -> Self {
        let secret = environment.secret("DATA_ENCRYPTION_KEY");
        let previous = environment.optional_secret("DATA_ENCRYPTION_KEY_PREVIOUS");
        Self {
            store: TwoFactorStore::from_env(environment),
            cipher: Cipher::new(&secret, previous.as_ref()),
            lockout: CodeLockout::from_env(environment),
            audit: Audit::from_env(environment),
            outbox: Outbox::from_env(environment),
            dynamodb: DynamoDb::from_env(environment),
        }
    }

    /// Verifies a code that was not used before. A wrong code counts towards the lockout and is recorded as a failure
    /// of `event`. A used code is not a guess: it is recorded, but does not count.
    ///
    /// # Errors
    /// `two_factor_invalid`, `two_factor_used`, `account_locked`, and `service_unavailable` or `internal_error` if a
    /// store fails.
    pub async fn check(
        &self,
        user: &User,
        code: &Code,
        event: Event,
        client: &ClientInfo,
    ) -> Result<VerifiedCode, ApiError> {
        let is_signed_in = event != Event::Login;
        let attempt = self.lockout.attempt(user.id, is_signed_in, client).await?;
        let mut outdated = Vec::new();
        let found = match code {
            Code::Totp(code) => self.find_step(user.id, code, &mut outdated, client).await,
            Code::Backup(hash) => self.find_backup_code(user.id, hash, client).await,
        };
        match found {
            Ok(Some(kind)) => Ok(VerifiedCode {
                kind,
                user_id: user.id,
                event,
                attempt,
                outdated,
            }),
            Ok(None) => Err(self.refuse(user, &attempt, event, client).await),
            Err(error) => {
                if let ApiError::TwoFactorUsed = error {
                    let (audit, id) = (&self.audit, Some(user.id));
                    record_failure(audit, id, event, false, client).await?;
                }
                self.take_back_unless_wrong(&attempt, &error, client).await;
                Err(error)
            }
        }
    }

    /// Verifies a code if two-factor authentication is on; returns `None` if it is off.
    ///
    /// # Errors
    /// `two_factor_required`, and those of [`Self::check`].
    pub async fn check_if_enabled(
        &self,
        user: &User,
        code: Option<&Code>,
        event: Event,
        client: &ClientInfo,
    ) -> Result<Option<VerifiedCode>, ApiError> {
        match (user.two_factor_enabled, code) {
            (false, _) => Ok(None),
            (true, None) => Err(ApiError::TwoFactorRequired),
            (true, Some(code)) => Ok(Some(self.check(user, code, event, client).await?)),
        }
    }

    /// Takes the attempt back if the store did not answer or the code was used before. If a secret cannot be decrypted,
    /// the attempt stays counted: guessing must not become free.
    async fn take_back_unless_wrong(
        &self,
        attempt: &Attempt,
        error: &ApiError,
        client: &ClientInfo,
    ) {
        if matches!(
            error,
            ApiError::ServiceUnavailable(_) | ApiError::TwoFactorUsed
        ) {
            attempt.take_back(client).await;
        }
    }

    /// Records a failure. Mails the owner if it causes a lockout at sign-in: whoever tries codes there knows the
    /// password.
    async fn refuse(
        &self,
        user: &User,
        attempt: &Attempt,
        event: Event,
        client: &ClientInfo,
    ) -> ApiError {
        let recorded = async {
            record_failure(&self.audit, Some(user.id), event, attempt.locks(), client).await?;
            if attempt.locks() && event == Event::Login {
                let (kind, links) = (Kind::TwoFactorLocked, Links::none());
                let mail = self.outbox.create(kind, user, &links, client);
                self.dynamodb
                    .transact(vec![Write::new(mail, Collision)])
                    .await?;
            }
            Ok::<_, ApiError>(())
        };
        match recorded.await {
            Ok(()) => ApiError::TwoFactorInvalid,
            Err(error) => error,
        }
    }

    /// Searches all confirmed devices for the code. A device whose secret cannot be decrypted does not block the
    /// others; its error is returned only if no other device matches, as the code may have been right.
    async fn find_step(
        &self,
        id: UserId,
        code: &TotpCode,
        outdated: &mut Vec<(String, Sealed, Sealed)>,
        client: &ClientInfo,
    ) -> Result<Option<CodeKind>, ApiError> {
        let now = client.received_at;
        let mut found = None;
        let mut unopenable = None;
        let mut was_used = false;
        for device in self.store.find_devices(id, now).await? {
            let Some(last_used_step) = device.last_used_step else {
                continue; // still pending
            };
            let (secret, is_outdated) = match self.open(id, &device) {
                Ok(opened) => opened,
                Err(error) => {
                    tracing::error!(device = device.id(), "a device's secret cannot be opened");
                    unopenable = Some(error);
                    continue;
                }
            };
            let resealed = is_outdated.then(|| self.seal(id, device.id(), &secret));
            let step = secret.verify(code, now);
            was_used |= step.is_some_and(|step| step <= last_used_step);
            match step.filter(|step| found.is_none() && *step > last_used_step) {
                Some(step) => {
                    found = Some(CodeKind::Step {
                        device: device.id().to_owned(),
                        step,
                        resealed,
                    });
                }
                None => outdated.extend(
                    resealed.map(|new| (device.id().to_owned(), device.secret.clone(), new)),
                ),
            }
        }
        match (found, unopenable) {
            (Some(kind), _) => Ok(Some(kind)),
            (None, _) if was_used => Err(ApiError::TwoFactorUsed),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(None),
        }
    }

    async fn find_backup_code(
        &self,
        id: UserId,
        hash: &BackupCodeHash,
        client: &ClientInfo,
    ) -> Result<Option<CodeKind>, ApiError> {
        let now = client.received_at;
        match self.store.find_backup_code(id, hash, now).await? {
            Some(BackupCode { is_used: true }) => Err(ApiError::TwoFactorUsed),
            Some(_) => Ok(Some(CodeKind::BackupCode(hash.clone()))),
            None => Ok(None),
        }
    }

    /// Verifies the first code of a pending device and returns its step. A wrong code counts towards the lockout.
    ///
    /// # Errors
    /// `two_factor_invalid`, `account_locked`, and `service_unavailable` or `internal_error` if a store fails.
    pub async fn check_pending(
        &self,
        user: &User,
        device: &StoredDevice,
        code: &TotpCode,
        event: Event,
        client: &ClientInfo,
    ) -> Result<(Step, Attempt), ApiError> {
        let attempt = self.lockout.attempt(user.id, true, client).await?;
        let (secret, _) = self.open(user.id, device)?;
        match secret.verify(code, client.received_at) {
            Some(step) => Ok((step, attempt)),
            None => Err(self.refuse(user, &attempt, event, client).await),
        }
    }

    /// Settles the attempt after the action that the code authorised: a success clears the earlier failures; any
    /// failure of the action takes the attempt back. A code that was used meanwhile is also recorded.
    pub async fn settle<T>(
        &self,
        code: &VerifiedCode,
        result: &Result<T, ApiError>,
        client: &ClientInfo,
    ) {
        if let Err(ApiError::TwoFactorUsed) = result {
            let (id, event) = (Some(code.user_id), code.event);
            let recorded = record_failure(&self.audit, id, event, false, client);
            timing::best_effort("the record of a code that was used before", recorded).await;
        }
        self.settle_attempt(&code.attempt, result, client).await;
        if result.is_ok() {
            let reseal = async {
                for (device, old, new) in &code.outdated {
                    self.store.reseal(code.user_id, device, old, new).await?;
                }
                Ok::<_, Error>(())
            };
            timing::best_effort("sealing secrets anew", reseal).await;
        }
    }

    /// Settles an attempt with a code of a pending device in the same way.
    pub async fn settle_attempt<T>(
        &self,
        attempt: &Attempt,
        result: &Result<T, ApiError>,
        client: &ClientInfo,
    ) {
        let settle = async {
            match result {
                Ok(_) => attempt.forgive(client).await,
                Err(_) => attempt.take_back(client).await,
            }
            Ok::<_, Error>(())
        };
        timing::best_effort("settling an attempt", settle).await;
    }

    /// Encrypts a device's secret, bound to its user and device.
    pub fn seal(&self, id: UserId, device: &str, secret: &TotpSecret) -> Sealed {
        self.cipher
            .seal(secret.expose(), &owner(id, device), random::bytes())
    }

    /// Decrypts a device's secret. A failure concerns the operator, and the client learns nothing about it.
    fn open(&self, id: UserId, device: &StoredDevice) -> Result<(TotpSecret, bool), ApiError> {
        let opened = self.cipher.open(&device.secret, &owner(id, device.id()));
        let unreadable = || ApiError::Internal("a device's secret cannot be opened".into());
        let opened = opened.map_err(|_| unreadable())?;
        let bytes = opened.plaintext[..].try_into().map_err(|_| unreadable())?;
        Ok((TotpSecret::new(bytes), opened.is_outdated))
    }
}

fn owner(id: UserId, device: &str) -> String {
    format!("{id}|{device}")
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

/// Checks that the account may have one more device.
///
/// # Errors
/// `validation_failed`.
pub fn check_device_count(user: &User) -> Result<(), ApiError> {
    if user.two_factor_devices.len() < MAX_TWO_FACTOR_DEVICES {
        return Ok(());
    }
    let mut rule = rule(
        "too_many",
        format!("an account has at most {MAX_TWO_FACTOR_DEVICES} devices"),
    );
    rule.add_param("max".into(), &MAX_TWO_FACTOR_DEVICES);
    Err(ApiError::invalid("deviceName", rule))
}

/// Generates new backup codes, each as shown to the user and with its hash.
pub fn mint_backup_codes() -> Vec<(SecretString, BackupCodeHash)> {
    let codes = 0..backup_code::COUNT;
    codes.map(|_| backup_code::mint(random::bytes())).collect()
}
