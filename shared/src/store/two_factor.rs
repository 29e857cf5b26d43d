//! The second factor, in `CREDENTIALS_TABLE`: devices and backup codes.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `TOTP#<user id>` | `DEVICE#<deviceId>` | secret (encrypted), name, created_at, is_stepped_up, session_id; confirmed_at and last_used_step, or `ttl` (1 h) while it is pending |
//! | `CODE#<user id>` | `HASH#<sha256>` | created_at; used_at once used |
//!
//! Their partitions differ from the password's, so that permission to write one does not include the other.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Error;
use super::dynamodb::DynamoDb;
use super::items::{self, Expression, Item, TransactWriteItem, number, text, ttl};
use crate::config::Environment;
use crate::domain::backup_code::BackupCodeHash;
use crate::domain::encryption::Sealed;
use crate::domain::session::SessionId;
use crate::domain::timestamp::Timestamp;
use crate::domain::totp::Step;
use crate::domain::user::UserId;

/// The lifetime of a pending device, from its setup to its first code: 1 h.
const PENDING_LIFETIME: Duration = Duration::from_secs(60 * 60);

const DEVICE: &str = "DEVICE#";
const BACKUP_CODE: &str = "HASH#";

fn devices(id: UserId) -> String {
    format!("TOTP#{id}")
}

fn backup_codes(id: UserId) -> String {
    format!("CODE#{id}")
}

/// The second factors of all users.
#[derive(Clone)]
pub struct TwoFactorStore {
    dynamodb: DynamoDb,
    table: String,
}

/// A stored device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredDevice {
    /// The sort key, which contains the device's id.
    #[serde(rename = "sk", skip_serializing)]
    sort_key: String,
    /// The encrypted TOTP secret.
    pub secret: Sealed,
    /// The name given by the user.
    pub name: String,
    /// The time of the setup.
    pub created_at: Timestamp,
    /// Whether the user proved another factor for the setup.
    #[serde(default)]
    pub is_stepped_up: bool,
    /// The session that set the device up after reauthentication; in this session its first code needs no further
    /// proof.
    #[serde(default)]
    pub session_id: Option<SessionId>,
    /// The time of the first verified code; until then the device is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<Timestamp>,
    /// The last used time step: codes of this step and earlier ones are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_step: Option<Step>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<i64>,
}

impl StoredDevice {
    /// Creates a device that is not confirmed yet.
    pub fn pending(
        id: &str,
        name: String,
        secret: Sealed,
        is_stepped_up: bool,
        session_id: SessionId,
        now: Timestamp,
    ) -> Self {
        Self {
            sort_key: format!("{DEVICE}{id}"),
            secret,
            name,
            created_at: now,
            is_stepped_up,
            session_id: Some(session_id),
            confirmed_at: None,
            last_used_step: None,
            ttl: Some(now.plus(PENDING_LIFETIME).seconds()),
        }
    }

    /// Returns the device's id, as used in requests.
    pub fn id(&self) -> &str {
        self.sort_key.trim_start_matches(DEVICE)
    }
}

/// A stored backup code.
#[derive(Clone, Copy, Debug)]
pub struct BackupCode {
    /// Whether the code was used.
    pub is_used: bool,
}

#[derive(Deserialize)]
struct Key {
    sk: String,
}

#[derive(Serialize)]
struct BackupCodeItem {
    created_at: Timestamp,
}

impl TwoFactorStore {
    /// Reads the variable `CREDENTIALS_TABLE` and those of DynamoDB.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            dynamodb: DynamoDb::from_env(environment),
            table: environment.text("CREDENTIALS_TABLE"),
        }
    }

    /// Finds the user's devices, confirmed and pending, the oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses or an item cannot be
    /// read.
    pub async fn find_devices(
        &self,
        id: UserId,
        now: Timestamp,
    ) -> Result<Vec<StoredDevice>, Error> {
        self.dynamodb
            .query(&self.table, devices(id), DEVICE, now)
            .await
    }

    /// Finds the hashes of the user's backup codes, including used ones.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses or an item cannot be
    /// read.
    pub async fn find_backup_codes(
        &self,
        id: UserId,
        now: Timestamp,
    ) -> Result<Vec<BackupCodeHash>, Error> {
        let keys: Vec<Key> = self
            .dynamodb
            .query(&self.table, backup_codes(id), BACKUP_CODE, now)
            .await?;
        let hash = |key: Key| key.sk.trim_start_matches(BACKUP_CODE).to_owned();
        Ok(keys
            .into_iter()
            .map(hash)
            .map(BackupCodeHash::from_stored)
            .collect())
    }

    /// Creates a device.
    pub fn create_device(&self, id: UserId, device: &StoredDevice) -> TransactWriteItem {
        let item = items::item(devices(id), &device.sort_key, device);
        items::put(&self.table, item, Expression::item_is_absent())
    }

    /// Confirms a pending device and uses up the step of its first code. Refused if the device is confirmed already.
    pub fn confirm_device(
        &self,
        id: UserId,
        device: &StoredDevice,
        step: Step,
        now: Timestamp,
    ) -> TransactWriteItem {
        let expression = Expression {
            update: "SET #confirmed_at = :now, #last_used_step = :step REMOVE #ttl".to_owned(),
            condition: "attribute_exists(pk) AND attribute_not_exists(#confirmed_at)".to_owned(),
            values: vec![(":now", text(now.to_string())), (":step", number(step))],
        };
        items::update(&self.table, self.device_key(id, device.id()), expression)
    }

    /// Uses up a step of a confirmed device. The condition closes the race between two uses of one code: neither this
    /// step nor an earlier one works again (RFC 6238, 5.2). If `resealed` is given (the secret was encrypted under the
    /// previous key), it replaces the stored secret.
    pub fn use_step(
        &self,
        id: UserId,
        device: &str,
        step: Step,
        resealed: Option<&Sealed>,
    ) -> TransactWriteItem {
        let mut expression = unused_step(step);
        expression.update = "SET #last_used_step = :step".to_owned();
        if let Some(Sealed(secret)) = resealed {
            expression.update.push_str(", #secret = :secret");
            expression.values.push((":secret", text(secret)));
        }
        items::update(&self.table, self.device_key(id, device), expression)
    }

    /// Replaces the stored secret by a newly encrypted one, if `old` is still stored.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn reseal(
        &self,
        id: UserId,
        device: &str,
        old: &Sealed,
        new: &Sealed,
    ) -> Result<(), Error> {
        let expression = Expression {
            update: "SET #secret = :new".to_owned(),
            condition: "#secret = :old".to_owned(),
            values: vec![(":new", text(&new.0)), (":old", text(&old.0))],
        };
        let key = self.device_key(id, device);
        self.dynamodb.update(&self.table, key, expression).await?;
        Ok(())
    }

    /// Removes a device on the strength of its own code, and thereby uses up the step.
    pub fn remove_device_by_step(&self, id: UserId, device: &str, step: Step) -> TransactWriteItem {
        items::delete(&self.table, self.device_key(id, device), unused_step(step))
    }

    /// Removes a device.
    pub fn remove_device(&self, id: UserId, device: &str) -> TransactWriteItem {
        let key = self.device_key(id, device);
        items::delete(&self.table, key, Expression::item_exists())
    }

    /// Creates a backup code.
    pub fn create_backup_code(
        &self,
        id: UserId,
        hash: &BackupCodeHash,
        now: Timestamp,
    ) -> TransactWriteItem {
        let sort_key = format!("{BACKUP_CODE}{}", hash.as_str());
        let item = BackupCodeItem { created_at: now };
        let item = items::item(backup_codes(id), &sort_key, &item);
        items::put(&self.table, item, Expression::item_is_absent())
    }

    /// Finds a backup code of the user.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses or an item cannot be
    /// read.
    pub async fn find_backup_code(
        &self,
        id: UserId,
        hash: &BackupCodeHash,
        now: Timestamp,
    ) -> Result<Option<BackupCode>, Error> {
        #[derive(Deserialize)]
        struct State {
            used_at: Option<Timestamp>,
        }
        let key = self.backup_code_key(id, hash);
        let state: Option<State> = self.dynamodb.get(&self.table, key, now).await?;
        Ok(state.map(|state| BackupCode {
            is_used: state.used_at.is_some(),
        }))
    }

    /// Uses up a backup code. The condition closes the race between two uses.
    pub fn use_backup_code(
        &self,
        id: UserId,
        hash: &BackupCodeHash,
        now: Timestamp,
    ) -> TransactWriteItem {
        let mut expression = unused_code();
        expression.update = "SET #used_at = :now".to_owned();
        expression.values.push((":now", text(now.to_string())));
        items::update(&self.table, self.backup_code_key(id, hash), expression)
    }

    /// Removes a backup code on the strength of that code itself, and thereby uses it up.
    pub fn remove_unused_backup_code(
        &self,
        id: UserId,
        hash: &BackupCodeHash,
    ) -> TransactWriteItem {
        items::delete(&self.table, self.backup_code_key(id, hash), unused_code())
    }

    /// Removes a backup code.
    pub fn remove_backup_code(&self, id: UserId, hash: &BackupCodeHash) -> TransactWriteItem {
        items::delete(
            &self.table,
            self.backup_code_key(id, hash),
            Expression::item_exists(),
        )
    }

    /// Returns the removals of all devices, including pending ones, and of all backup codes.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses or an item cannot be
    /// read.
    pub async fn remove_all(
        &self,
        id: UserId,
        now: Timestamp,
    ) -> Result<Vec<TransactWriteItem>, Error> {
        let (devices, codes) =
            tokio::try_join!(self.find_devices(id, now), self.find_backup_codes(id, now))?;
        let devices = devices.iter();
        let devices = devices.map(|device| self.remove_device(id, device.id()));
        let codes = codes.iter();
        let codes = codes.map(|hash| self.remove_backup_code(id, hash));
        Ok(devices.chain(codes).collect())
    }

    /// Lets a deleted account's device expire with the account.
    pub fn expire_device(
        &self,
        id: UserId,
        device: &str,
        purge_at: Timestamp,
    ) -> TransactWriteItem {
        self.expire(self.device_key(id, device), purge_at)
    }

    /// Lets a deleted account's backup code expire with the account.
    pub fn expire_backup_code(
        &self,
        id: UserId,
        hash: &BackupCodeHash,
        purge_at: Timestamp,
    ) -> TransactWriteItem {
        self.expire(self.backup_code_key(id, hash), purge_at)
    }

    fn expire(&self, key: Item, purge_at: Timestamp) -> TransactWriteItem {
        let expression = Expression {
            update: "SET #ttl = :ttl".to_owned(),
            condition: "attribute_exists(pk)".to_owned(),
            values: vec![(":ttl", ttl(purge_at))],
        };
        items::update(&self.table, key, expression)
    }

    fn device_key(&self, id: UserId, device: &str) -> Item {
        items::key(devices(id), &format!("{DEVICE}{device}"))
    }

    fn backup_code_key(&self, id: UserId, hash: &BackupCodeHash) -> Item {
        items::key(backup_codes(id), &format!("{BACKUP_CODE}{}", hash.as_str()))
    }
}

fn unused_step(step: Step) -> Expression {
    Expression {
        condition: "attribute_exists(#confirmed_at) AND #last_used_step < :step".to_owned(),
        values: vec![(":step", number(step))],
        ..Default::default()
    }
}

fn unused_code() -> Expression {
    Expression {
        condition: "attribute_exists(pk) AND attribute_not_exists(#used_at)".to_owned(),
        ..Default::default()
    }
}
