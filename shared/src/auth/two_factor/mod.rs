//! The second factor of a user: verifies codes and uses them up.

use secrecy::SecretString;

mod device_secrets;
mod verified_code;

use device_secrets::{DeviceSecrets, Reencrypted};
use verified_code::CodeKind;
pub use verified_code::VerifiedCode;

use super::authentication::Caller;
use super::lockout::{Attempt, CodeLockout};
use super::reauthentication::record_failure;
use super::retry::Refusal;
use crate::config::Environment;
use crate::domain::backup_code::{self, BackupCodeHash};
use crate::domain::client_info::ClientInfo;
use crate::domain::code::Code;
use crate::domain::encryption::Sealed;
use crate::domain::rule::rule;
use crate::domain::totp::{Step, TotpCode, TotpSecret};
use crate::domain::user::{MAX_TWO_FACTOR_DEVICES, User, UserId};
use crate::error::ApiError;
use crate::store::Error;
use crate::store::audit::{Audit, Event};
use crate::store::dynamodb::{Collision, DynamoDb, Write};
use crate::store::outbox::{Kind, Links, Outbox};
use crate::store::two_factor::{BackupCode, StoredDevice, TwoFactorStore};
use crate::store::users::Users;
use crate::{random, timing};

/// Verifies the codes of the second factor.
pub struct TwoFactor {
    /// The devices and backup codes.
    pub store: TwoFactorStore,
    secrets: DeviceSecrets,
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

impl TwoFactor {
    /// Reads `DATA_ENCRYPTION_KEY`, `DATA_ENCRYPTION_KEY_PREVIOUS` and the variables of the lockout and of both tables.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            store: TwoFactorStore::from_env(environment),
            secrets: DeviceSecrets::from_env(environment),
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
        let is_signed_in = !event.is_sign_in();
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
    /// password, or reads the mails.
    async fn refuse(
        &self,
        user: &User,
        attempt: &Attempt,
        event: Event,
        client: &ClientInfo,
    ) -> ApiError {
        let recorded = async {
            record_failure(&self.audit, Some(user.id), event, attempt.locks(), client).await?;
            if attempt.locks() && event.is_sign_in() {
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

    async fn find_step(
        &self,
        id: UserId,
        code: &TotpCode,
        outdated: &mut Vec<Reencrypted>,
        client: &ClientInfo,
    ) -> Result<Option<CodeKind>, ApiError> {
        let now = client.received_at;
        let devices = self.store.find_devices(id, now).await?;
        let found = self.secrets.find_step(id, &devices, code, now, outdated);
        Ok(found?.map(|found| CodeKind::Step {
            device: found.device,
            step: found.step,
            resealed: found.reencrypted,
        }))
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
        let (secret, _) = self.secrets.open(user.id, device)?;
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
                for Reencrypted { device, old, new } in &code.outdated {
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

    /// Returns the writes that use up a code which authorises a change by a signed-in user, and the events to record. A
    /// backup code also ends the other sessions and is mailed to the owner.
    pub fn use_up(
        &self,
        code: &VerifiedCode,
        caller: &Caller,
        users: &Users,
        client: &ClientInfo,
    ) -> (Vec<Write<Refused>>, Vec<Event>) {
        let (user, now) = (&caller.user, client.received_at);
        let mut writes = vec![Write::new(
            code.write(&self.store, client),
            Refused::CodeUsed,
        )];
        if !code.is_backup_code() {
            return (writes, Vec::new());
        }
        let changed = User {
            backup_codes_left: user.backup_codes_left.saturating_sub(1),
            ..user.clone()
        };
        let (kind, links) = (Kind::BackupCodeUsed, Links::none());
        let items = [
            users.update_two_factor(&changed, Some(caller.session_id), now),
            self.outbox.create(kind, user, &links, client),
        ];
        writes.extend(Write::all(items, Refused::Stale));
        (writes, vec![Event::BackupCodeUse])
    }

    /// Encrypts a device's secret, bound to its user and device.
    pub fn seal(&self, id: UserId, device: &str, secret: &TotpSecret) -> Sealed {
        self.secrets.seal(id, device, secret)
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
