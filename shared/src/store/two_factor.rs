//! The second factor, in `CREDENTIALS_TABLE`: devices and backup codes.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `TOTP#<user id>` | `DEVICE#<deviceId>` | secret (encrypted), name, created_at, is_stepped_up, session_id; confirmed_at and last_used_step, or `ttl` (1 h) while it is pending |
//! | `CODE#<user id>` | `HASH#<sha256>` | created_at; used_at once used |
//!
//! Their partitions are not that of the password, so that who may write the one cannot write the other.

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

/// From a device's setup to the last moment for its first code: 1 h.
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

/// A device as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredDevice {
    /// Names the device.
    #[serde(rename = "sk", skip_serializing)]
    sort_key: String,
    /// What its codes are made of.
    pub secret: Sealed,
    /// What its owner calls it.
    pub name: String,
    /// When it was set up.
    pub created_at: Timestamp,
    /// Whether another factor was shown for it.
    #[serde(default)]
    pub is_stepped_up: bool,
    /// The session that set it up, after proof of its user; its first code needs no further proof there.
    #[serde(default)]
    pub session_id: Option<SessionId>,
    /// When its first code was verified; until then it is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<Timestamp>,
    /// No code of this step or one before works any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_step: Option<Step>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<i64>,
}

impl StoredDevice {
    /// A device that is set up and not confirmed yet.
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

    /// Names the device in requests.
    pub fn id(&self) -> &str {
        self.sort_key.trim_start_matches(DEVICE)
    }
}

/// A backup code as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct BackupCode {
    /// Whether it was used.
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

    /// The user's devices, confirmed and pending, the oldest first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn find_devices(
        &self,
        id: UserId,
        now: Timestamp,
    ) -> Result<Vec<StoredDevice>, Error> {
        self.dynamodb
            .query(&self.table, devices(id), DEVICE, now)
            .await
    }

    /// The user's backup codes, used ones as well.
    ///
    /// # Errors
    /// Those of the store.
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

    /// Keeps a new device.
    pub fn create_device(&self, id: UserId, device: &StoredDevice) -> TransactWriteItem {
        let item = items::item(devices(id), &device.sort_key, device);
        items::put(&self.table, item, Expression::item_is_absent())
    }

    /// Makes a pending device an active one, and uses up the step of its first code. Refused if that
    /// has happened already.
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

    /// Uses up a step of an active device. The condition closes the race between two uses of one code:
    /// neither this step nor one before works again (RFC 6238, 5.2). A secret that was sealed under
    /// the key before takes the place of the stored one.
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

    /// Puts a secret that was sealed anew in the place of the one that it was made of, if that is still
    /// the stored one.
    ///
    /// # Errors
    /// Those of the store.
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

    /// Removes a device whose own code allows it: uses up the step by that.
    pub fn remove_device_by_step(&self, id: UserId, device: &str, step: Step) -> TransactWriteItem {
        items::delete(&self.table, self.device_key(id, device), unused_step(step))
    }

    /// Removes a device.
    pub fn remove_device(&self, id: UserId, device: &str) -> TransactWriteItem {
        let key = self.device_key(id, device);
        items::delete(&self.table, key, Expression::item_exists())
    }

    /// Keeps a new backup code.
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

    /// A backup code of the user.
    ///
    /// # Errors
    /// Those of the store.
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

    /// Removes a backup code that allows its own removal: uses it up by that.
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

    /// Removes whatever is there: devices, pending ones too, and backup codes.
    ///
    /// # Errors
    /// Those of the store.
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

    /// Lets a device of a deleted account go with the account.
    pub fn expire_device(
        &self,
        id: UserId,
        device: &str,
        purge_at: Timestamp,
    ) -> TransactWriteItem {
        self.expire(self.device_key(id, device), purge_at)
    }

    /// The same of a backup code.
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
