//! The second factor of a user: which code is right, and what has to be written for it to be used up.

use secrecy::SecretString;

use super::Request;
use super::authentication::Authenticator;
use super::guard::{Endpoint, Guard};
use super::lockout::{Attempt, CodeLockout};
use super::password_check::record_failure;
use crate::config::Environment;
use crate::domain::backup_code::BackupCodeHash;
use crate::domain::code::Code;
use crate::domain::encryption::{Cipher, Sealed};
use crate::domain::rule::rule;
use crate::domain::totp::{Step, TotpCode, TotpSecret};
use crate::domain::user::{MOST_TWO_FACTOR_DEVICES, User, UserId};
use crate::error::ApiError;
use crate::store::Error;
use crate::store::audit::{Audit, Event};
use crate::store::dynamodb::{DynamoDb, TransactWriteItem, Write};
use crate::store::outbox::{Kind, Links, Outbox};
use crate::store::two_factor::{BackupCode, StoredDevice, TwoFactor};
use crate::store::users::Users;
use crate::{clock, random};

/// Checks codes.
pub struct SecondFactor {
    /// Devices and backup codes.
    pub store: TwoFactor,
    /// Opens the devices' secrets.
    pub cipher: Cipher,
    /// Counts wrong codes, of both kinds together.
    pub lockout: CodeLockout,
    /// Where a wrong code is recorded.
    pub audit: Audit,
    /// Tells the owner of the lock.
    pub outbox: Outbox,
    /// Writes both at once.
    pub dynamodb: DynamoDb,
}

/// A right code. It is used up by writing what this says, with whatever it allows.
pub struct Factor {
    kind: FactorKind,
    user_id: UserId,
    event: Event,
    attempt: Attempt,
    /// Secrets of other devices whose key is the one before: as they are, and sealed anew.
    outdated: Vec<(String, Sealed, Sealed)>,
}

enum FactorKind {
    Step {
        device: String,
        step: Step,
        resealed: Option<Sealed>,
    },
    BackupCode(BackupCodeHash),
}

impl SecondFactor {
    /// The factor, if the code is right and was not used before. A wrong one counts, and is recorded as a
    /// failure of the event that it was sent for; one that was used is no guess, and does not count.
    ///
    /// # Errors
    /// `two_factor_invalid`, `account_locked`, and those of the stores.
    pub async fn check(
        &self,
        user: &User,
        code: &Code,
        event: Event,
        request: &Request,
    ) -> Result<Factor, ApiError> {
        let is_signed_in = event != Event::Login;
        let attempt = self.lockout.attempt(user.id, is_signed_in, request).await?;
        let mut outdated = Vec::new();
        let found = match code {
            Code::Totp(code) => self.find_step(user.id, code, &mut outdated, request).await,
            Code::Backup(hash) => self.find_backup_code(user.id, hash, request).await,
        };
        match found {
            Ok(Some(kind)) => Ok(Factor {
                kind,
                user_id: user.id,
                event,
                attempt,
                outdated,
            }),
            Ok(None) => Err(self.refuse(user, &attempt, event, request).await),
            Err(error) => {
                if let ApiError::TwoFactorUsed = error {
                    let (audit, id) = (&self.audit, Some(user.id));
                    record_failure(audit, id, event, false, request).await?;
                }
                self.take_back_unless_wrong(&attempt, &error, request).await;
                Err(error)
            }
        }
    }

    /// The same where the user has a second factor; nothing where there is none.
    ///
    /// # Errors
    /// `two_factor_required`, and those of [`Self::check`].
    pub async fn check_if_enabled(
        &self,
        user: &User,
        code: Option<&Code>,
        event: Event,
        request: &Request,
    ) -> Result<Option<Factor>, ApiError> {
        match (user.two_factor_enabled, code) {
            (false, _) => Ok(None),
            (true, None) => Err(ApiError::TwoFactorRequired),
            (true, Some(code)) => Ok(Some(self.check(user, code, event, request).await?)),
        }
    }

    /// A store that did not answer is nobody's failure. A secret that cannot be opened stays one: it
    /// must not make guessing free.
    async fn take_back_unless_wrong(&self, attempt: &Attempt, error: &ApiError, request: &Request) {
        if matches!(
            error,
            ApiError::ServiceUnavailable(_) | ApiError::TwoFactorUsed
        ) {
            attempt.take_back(request).await;
        }
    }

    /// A failure; the owner is told of one that locks: whoever tries codes at login knows the password.
    async fn refuse(
        &self,
        user: &User,
        attempt: &Attempt,
        event: Event,
        request: &Request,
    ) -> ApiError {
        let recorded = async {
            record_failure(&self.audit, Some(user.id), event, attempt.locks(), request).await?;
            if attempt.locks() && event == Event::Login {
                let (kind, language) = (Kind::TwoFactorLocked, request.language());
                let (links, origin) = (Links::none(), request.origin());
                let mail = self.outbox.create(kind, user, &links, language, origin);
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

    /// Among all active devices. One whose secret cannot be opened hinders no other; only if none other
    /// has the code, nobody knows whether it was right.
    async fn find_step(
        &self,
        id: UserId,
        code: &TotpCode,
        outdated: &mut Vec<(String, Sealed, Sealed)>,
        request: &Request,
    ) -> Result<Option<FactorKind>, ApiError> {
        let now = request.received_at();
        let mut found = None;
        let mut unopenable = None;
        let mut was_used = false;
        for device in self.store.find_devices(id, now).await? {
            let Some(last_used_step) = device.last_used_step else {
                continue; // pending
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
                    found = Some(FactorKind::Step {
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
        request: &Request,
    ) -> Result<Option<FactorKind>, ApiError> {
        let now = request.received_at();
        match self.store.find_backup_code(id, hash, now).await? {
            Some(BackupCode { is_used: true }) => Err(ApiError::TwoFactorUsed),
            Some(_) => Ok(Some(FactorKind::BackupCode(hash.clone()))),
            None => Ok(None),
        }
    }

    /// The step of a pending device's first code. A wrong one counts.
    ///
    /// # Errors
    /// `two_factor_invalid`, `account_locked`, and those of the stores.
    pub async fn check_pending(
        &self,
        user: &User,
        device: &StoredDevice,
        code: &TotpCode,
        event: Event,
        request: &Request,
    ) -> Result<(Step, Attempt), ApiError> {
        let attempt = self.lockout.attempt(user.id, true, request).await?;
        let (secret, _) = self.open(user.id, device)?;
        match secret.verify(code, request.received_at()) {
            Some(step) => Ok((step, attempt)),
            None => Err(self.refuse(user, &attempt, event, request).await),
        }
    }

    /// Settles the attempt by what became of that which the code allows: a success forgives; a code that
    /// was used meanwhile is recorded, and counts as little as what failed for another reason.
    pub async fn settle<T>(
        &self,
        factor: &Factor,
        result: &Result<T, ApiError>,
        request: &Request,
    ) {
        if let Err(ApiError::TwoFactorUsed) = result {
            let (id, event) = (Some(factor.user_id), factor.event);
            let recorded = record_failure(&self.audit, id, event, false, request);
            clock::aftermath("the record of a code that was used before", recorded).await;
        }
        self.settle_attempt(&factor.attempt, result, request).await;
        if result.is_ok() {
            let reseal = async {
                for (device, old, new) in &factor.outdated {
                    self.store.reseal(factor.user_id, device, old, new).await?;
                }
                Ok::<_, Error>(())
            };
            clock::aftermath("sealing secrets anew", reseal).await;
        }
    }

    /// The same for a code of a device that is not active yet.
    pub async fn settle_attempt<T>(
        &self,
        attempt: &Attempt,
        result: &Result<T, ApiError>,
        request: &Request,
    ) {
        let settle = async {
            match result {
                Ok(_) => attempt.forgive(request).await,
                Err(_) => attempt.take_back(request).await,
            }
            Ok::<_, Error>(())
        };
        clock::aftermath("settling an attempt", settle).await;
    }

    /// A device's secret as it is stored: bound to its user and itself.
    pub fn seal(&self, id: UserId, device: &str, secret: &TotpSecret) -> Sealed {
        self.cipher
            .seal(secret.expose(), &owner(id, device), random::bytes())
    }

    /// One that cannot be opened is a matter for the operator, and nothing that a client learns of.
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

impl Factor {
    /// Whether it is a backup code: then the owner is told, and the other sessions are ended.
    pub fn is_backup_code(&self) -> bool {
        matches!(self.kind, FactorKind::BackupCode(_))
    }

    /// What uses it up.
    pub fn write(&self, store: &TwoFactor, request: &Request) -> TransactWriteItem {
        match &self.kind {
            FactorKind::Step {
                device,
                step,
                resealed,
            } => store.use_step(self.user_id, device, *step, resealed.as_ref()),
            FactorKind::BackupCode(hash) => {
                store.use_backup_code(self.user_id, hash, request.received_at())
            }
        }
    }

    /// What removes a device: by its own code, if this is it.
    pub fn remove_device(&self, store: &TwoFactor, device: &str) -> TransactWriteItem {
        match &self.kind {
            FactorKind::Step {
                device: own, step, ..
            } if own == device => store.remove_device_by_step(self.user_id, device, *step),
            _ => store.remove_device(self.user_id, device),
        }
    }

    /// What removes a backup code: by itself, if this is it.
    pub fn remove_backup_code(
        &self,
        store: &TwoFactor,
        hash: &BackupCodeHash,
    ) -> TransactWriteItem {
        match &self.kind {
            FactorKind::BackupCode(own) if own == hash => {
                store.remove_unused_backup_code(self.user_id, hash)
            }
            _ => store.remove_backup_code(self.user_id, hash),
        }
    }

    /// Whether what removes this backup code uses the factor up as well.
    pub fn is_of_backup_code(&self, hash: &BackupCodeHash) -> bool {
        matches!(&self.kind, FactorKind::BackupCode(own) if own == hash)
    }

    /// Whether what removes this device uses the factor up as well.
    pub fn is_of_device(&self, id: &str) -> bool {
        matches!(&self.kind, FactorKind::Step { device, .. } if device == id)
    }
}

/// An identifier that is random was there before.
#[derive(Clone, Copy)]
struct Collision;

impl From<Collision> for ApiError {
    fn from(_: Collision) -> Self {
        Self::Internal("a random identifier occurred twice".into())
    }
}

/// What the endpoints about second factors may touch, all of them the same.
pub struct Parts {
    /// Lets requests pass.
    pub guard: Guard,
    /// Knows who asks.
    pub authenticator: Authenticator,
    /// Writes all or nothing.
    pub dynamodb: DynamoDb,
    /// The users' records.
    pub users: Users,
    /// The mails.
    pub outbox: Outbox,
    /// The trail.
    pub audit: Audit,
    /// Devices, backup codes, and what checks them.
    pub second_factor: SecondFactor,
}

impl Parts {
    /// From the environment variables.
    pub fn from_env(environment: &mut Environment) -> Self {
        let dynamodb = environment.dynamodb();
        let users_table = environment.text("USERS_TABLE");
        let credentials_table = environment.text("CREDENTIALS_TABLE");
        let users = Users::new(dynamodb.clone(), users_table.clone());
        let audit = Audit::new(dynamodb.clone(), users_table.clone());
        let outbox = Outbox::new(users_table.clone());
        let second_factor = environment.second_factor(
            dynamodb.clone(),
            credentials_table,
            audit.clone(),
            outbox.clone(),
        );
        let endpoint = Endpoint::per_client("TWO_FACTOR", "10/15m");
        Self {
            guard: Guard::for_users(environment, Some(endpoint)),
            authenticator: environment.authenticator(users.clone()),
            users,
            outbox,
            audit,
            second_factor,
            dynamodb,
        }
    }
}

/// Whether there is room for one more device.
///
/// # Errors
/// `validation_failed`.
pub fn check_room(user: &User) -> Result<(), ApiError> {
    if user.two_factor_devices.len() < MOST_TWO_FACTOR_DEVICES {
        return Ok(());
    }
    let mut rule = rule(
        "too_many",
        format!("an account has at most {MOST_TWO_FACTOR_DEVICES} devices"),
    );
    rule.add_param("max".into(), &MOST_TWO_FACTOR_DEVICES);
    Err(ApiError::invalid("deviceName", rule))
}

/// New backup codes: as they are shown once, and what is stored of them.
pub fn mint_backup_codes() -> Vec<(SecretString, BackupCodeHash)> {
    use crate::domain::backup_code::{COUNT, mint};
    (0..COUNT).map(|_| mint(random::bytes())).collect()
}
