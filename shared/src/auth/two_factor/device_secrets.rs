//! The secrets of devices, and the search for the device whose code it is.

use crate::auth::data_encryption;
use crate::config::Environment;
use crate::domain::encryption::{Cipher, Sealed};
use crate::domain::timestamp::Timestamp;
use crate::domain::totp::{Step, TotpCode, TotpSecret};
use crate::domain::user::UserId;
use crate::error::ApiError;
use crate::random;
use crate::store::two_factor::StoredDevice;

/// Encrypts and decrypts the secrets of devices.
pub(super) struct DeviceSecrets(Cipher);

/// A device whose secret was encrypted under the previous key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reencrypted {
    /// The device's id.
    pub(super) device: String,
    /// The secret as it is stored.
    pub(super) old: Sealed,
    /// The secret under the current key.
    pub(super) new: Sealed,
}

/// The device that a code is of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The device's id.
    pub(super) device: String,
    /// The code's step.
    pub(super) step: Step,
    /// The device's secret under the current key, if it was encrypted under the previous one.
    pub(super) reencrypted: Option<Sealed>,
}

impl DeviceSecrets {
    /// Reads `DATA_ENCRYPTION_KEY` and `DATA_ENCRYPTION_KEY_PREVIOUS`.
    pub(super) fn from_env(environment: &mut Environment) -> Self {
        Self(data_encryption::cipher(environment))
    }

    /// Searches all confirmed devices for an unused code. A device whose secret cannot be decrypted does not block the
    /// others; its error is returned only if no other device matches, as the code may have been right. Adds the other
    /// devices with the previous key to `outdated`.
    ///
    /// # Errors
    /// `two_factor_used` for a code that was used before, and `internal_error` for a secret that cannot be decrypted.
    pub(super) fn find_step(
        &self,
        id: UserId,
        devices: &[StoredDevice],
        code: &TotpCode,
        now: Timestamp,
        outdated: &mut Vec<Reencrypted>,
    ) -> Result<Option<Found>, ApiError> {
        let mut found = None;
        let mut undecryptable = None;
        let mut was_used = false;
        for device in devices {
            let Some(last_used_step) = device.last_used_step else {
                continue; // still pending
            };
            let (secret, is_outdated) = match self.open(id, device) {
                Ok(opened) => opened,
                Err(error) => {
                    tracing::error!(device = device.id(), "a device's secret cannot be opened");
                    undecryptable = Some(error);
                    continue;
                }
            };
            let reencrypted = is_outdated.then(|| self.seal(id, device.id(), &secret));
            let step = secret.verify(code, now);
            was_used |= step.is_some_and(|step| step <= last_used_step);
            match step.filter(|step| found.is_none() && *step > last_used_step) {
                Some(step) => {
                    found = Some(Found {
                        device: device.id().to_owned(),
                        step,
                        reencrypted,
                    });
                }
                None => outdated.extend(reencrypted.map(|new| Reencrypted {
                    device: device.id().to_owned(),
                    old: device.secret.clone(),
                    new,
                })),
            }
        }
        match (found, undecryptable) {
            (Some(found), _) => Ok(Some(found)),
            (None, _) if was_used => Err(ApiError::TwoFactorUsed),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(None),
        }
    }

    /// Encrypts a device's secret, bound to its user and device.
    pub(super) fn seal(&self, id: UserId, device: &str, secret: &TotpSecret) -> Sealed {
        let owner = owner(id, device);
        self.0.seal(secret.expose(), &owner, random::bytes())
    }

    /// Decrypts a device's secret, and tells whether it was encrypted under the previous key.
    ///
    /// # Errors
    /// `internal_error`: a failure concerns the operator, and the client learns nothing about it.
    pub(super) fn open(
        &self,
        id: UserId,
        device: &StoredDevice,
    ) -> Result<(TotpSecret, bool), ApiError> {
        let opened = self.0.open(&device.secret, &owner(id, device.id()));
        let unreadable = || ApiError::Internal("a device's secret cannot be opened".into());
        let opened = opened.map_err(|_| unreadable())?;
        let bytes = opened.plaintext[..].try_into().map_err(|_| unreadable())?;
        Ok((TotpSecret::new(bytes), opened.is_outdated))
    }
}

fn owner(id: UserId, device: &str) -> String {
    format!("{id}|{device}")
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::domain::id::Id;
    use crate::domain::rule::Parse;

    const SECRET: [u8; 20] = *b"12345678901234567890";
    /// The SHA-1 code of RFC 6238's appendix B at 59 s, in six digits, and its step.
    const CODE: (&str, Step) = ("287082", 1);

    fn secrets(current: &str, previous: Option<&str>) -> DeviceSecrets {
        let previous = previous.map(SecretString::from);
        DeviceSecrets(Cipher::new(&SecretString::from(current), previous.as_ref()))
    }

    fn user() -> UserId {
        Id::new(Timestamp::from_milliseconds(0), [7; 16])
    }

    /// A device whose codes of this step and before are used; `None` if it is pending.
    fn device(secrets: &DeviceSecrets, id: &str, last_used_step: Option<Step>) -> StoredDevice {
        let sealed = secrets.seal(user(), id, &TotpSecret::new(SECRET));
        let now = Timestamp::from_milliseconds(0);
        let session = Id::new(now, [8; 16]);
        let mut device = StoredDevice::pending(id, "Phone".to_owned(), sealed, false, session, now);
        device.last_used_step = last_used_step;
        device
    }

    fn find(
        secrets: &DeviceSecrets,
        devices: &[StoredDevice],
    ) -> (Result<Option<Found>, ApiError>, Vec<Reencrypted>) {
        let code = TotpCode::parse(CODE.0).unwrap();
        let now = Timestamp::from_milliseconds(59_000);
        let mut outdated = Vec::new();
        let found = secrets.find_step(user(), devices, &code, now, &mut outdated);
        (found, outdated)
    }

    #[test]
    fn a_code_is_found_at_a_confirmed_device_alone() {
        let secrets = secrets("current", None);
        let pending = device(&secrets, "pending", None);
        let confirmed = device(&secrets, "confirmed", Some(0));

        assert!(matches!(find(&secrets, &[]).0, Ok(None)));
        let only_pending = find(&secrets, std::slice::from_ref(&pending));
        assert!(matches!(only_pending.0, Ok(None)));
        let found = find(&secrets, &[pending, confirmed]).0.unwrap().unwrap();
        assert_eq!((found.device.as_str(), found.step), ("confirmed", CODE.1));
    }

    #[test]
    fn a_used_code_is_told_apart_unless_another_device_has_it_unused() {
        let secrets = secrets("current", None);
        let used = device(&secrets, "used", Some(CODE.1));
        let unused = device(&secrets, "unused", Some(0));

        let alone = find(&secrets, std::slice::from_ref(&used)).0;
        assert!(matches!(alone, Err(ApiError::TwoFactorUsed)));
        let found = find(&secrets, &[used, unused]).0.unwrap().unwrap();
        assert_eq!(found.device, "unused");
    }

    #[test]
    fn a_secret_that_cannot_be_decrypted_blocks_no_other_device() {
        let (current, lost) = (secrets("current", None), secrets("lost", None));
        let broken = device(&lost, "broken", Some(0));
        let good = device(&current, "good", Some(0));

        let alone = find(&current, std::slice::from_ref(&broken)).0;
        assert!(matches!(alone, Err(ApiError::Internal(_))));
        let found = find(&current, &[broken, good]).0.unwrap().unwrap();
        assert_eq!(found.device, "good");
    }

    #[test]
    fn secrets_under_the_previous_key_are_encrypted_anew() {
        let previous = secrets("previous", None);
        let both = secrets("current", Some("previous"));
        let (first, second) = (
            device(&previous, "first", Some(0)),
            device(&previous, "second", Some(0)),
        );

        let (found, outdated) = find(&both, &[first, second]);

        let renewed = found.unwrap().unwrap().reencrypted;
        assert!(renewed.is_some(), "the device's own");
        let others: Vec<&str> = outdated.iter().map(|it| it.device.as_str()).collect();
        assert_eq!(others, ["second"]);
        let only_current = secrets("current", None);
        let mut first = device(&previous, "first", Some(0));
        first.secret = renewed.unwrap();
        assert!(matches!(only_current.open(user(), &first), Ok((_, false))));
    }
}
