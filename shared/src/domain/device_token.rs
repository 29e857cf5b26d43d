//! Device tokens (OWASP, "Slow Down Online Guessing Attacks with Device Cookies"). A device from which the user has
//! signed in has a failure counter of its own, so that strangers who lock the account do not lock out its owner. Device
//! tokens authenticate nothing.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::duration::days;
use super::id::Id;
use super::secret;
use super::timestamp::Timestamp;
use super::token::{
    Claims, Issuer, SigningConfig, SigningKey, Verifier, VerifyingConfig, VerifyingKey,
};
use super::user::UserId;

/// The identifier of a device. Its time is the first sign-in.
pub type DeviceId = Id<Device>;

/// A device from which a user has signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// The device's identifier.
    pub id: DeviceId,
    /// The device's user.
    pub user_id: UserId,
}

/// The lifetime of a device token: 90 days from the last sign-in.
pub const LIFETIME: Duration = days(90);

/// The claims of a device token.
#[derive(Serialize, Deserialize)]
struct DeviceClaims {
    sub: UserId,
    did: DeviceId,
}

impl Claims for DeviceClaims {
    const TYPE: &'static str = "device+jwt";

    fn are_consistent(&self) -> bool {
        true
    }
}

/// Issues device tokens.
pub struct DeviceTokenIssuer(Issuer<DeviceClaims>);

impl DeviceTokenIssuer {
    /// Creates an issuer with a key of [`signing_key`].
    pub fn new(config: SigningConfig) -> Self {
        Self(Issuer::new(config))
    }

    /// Issues a token for this device.
    pub fn issue(&self, device: Device, now: Timestamp) -> SecretString {
        let claims = DeviceClaims {
            sub: device.user_id,
            did: device.id,
        };
        let expiry = now.plus(LIFETIME);
        self.0.sign(claims, now.seconds(), expiry.seconds())
    }
}

/// Verifies device tokens.
pub struct DeviceTokenVerifier(Verifier<DeviceClaims>);

impl DeviceTokenVerifier {
    /// Creates a verifier with keys of [`verifying_key`].
    pub fn new(config: VerifyingConfig) -> Self {
        Self(Verifier::new(config))
    }

    /// Returns the device of a valid token. Whether a password reset has revoked the token since, only the user's
    /// record says.
    pub fn verify(&self, token: &str, now: Timestamp) -> Option<Device> {
        let claims = self.0.verify(token, now).ok()?;
        Some(Device {
            id: claims.did,
            user_id: claims.sub,
        })
    }
}

const PURPOSE: &str = "device token";

/// Derives the key that signs device tokens from a secret.
pub fn signing_key(secret: &SecretString) -> SigningKey {
    SigningKey::symmetric(&secret::derive(secret, PURPOSE))
}

/// Derives the key that verifies device tokens from a secret.
pub fn verifying_key(secret: &SecretString) -> VerifyingKey {
    VerifyingKey::symmetric(&secret::derive(secret, PURPOSE))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::super::token::tests::assert_all_is_needed;
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text.repeat(32))
    }

    fn signing(text: &str) -> SigningConfig {
        SigningConfig {
            key: signing_key(&secret(text)),
            issuer: "issuer".to_owned(),
            audience: "audience".to_owned(),
        }
    }

    fn verifier(text: &str, previous: Option<&str>) -> DeviceTokenVerifier {
        let texts = std::iter::once(text).chain(previous);
        DeviceTokenVerifier::new(VerifyingConfig {
            keys: texts.map(|text| verifying_key(&secret(text))).collect(),
            issuer: "issuer".to_owned(),
            audience: "audience".to_owned(),
        })
    }

    fn device() -> (Timestamp, Device) {
        let now = Timestamp::from_milliseconds(1_700_000_000_000);
        let device = Device {
            id: Id::new(now, [1; 16]),
            user_id: Id::new(now, [2; 16]),
        };
        (now, device)
    }

    #[test]
    fn a_token_is_good_for_90_days_and_under_its_own_key_alone() {
        let (now, device) = device();
        let token = DeviceTokenIssuer::new(signing("a")).issue(device, now);
        let last = now.plus(LIFETIME - Duration::from_secs(1));

        assert_eq!(
            verifier("a", None).verify(token.expose_secret(), last),
            Some(device)
        );
        assert_eq!(
            verifier("a", None).verify(token.expose_secret(), now.plus(LIFETIME)),
            None
        );
        assert_eq!(
            verifier("b", Some("a")).verify(token.expose_secret(), now),
            Some(device)
        );
        assert_eq!(verifier("b", None).verify(token.expose_secret(), now), None);
        let forged = token.expose_secret().replace('.', ".A");
        assert_eq!(verifier("a", None).verify(&forged, now), None);
    }

    #[test]
    fn all_of_a_token_is_needed() {
        let (now, device) = device();
        let token = DeviceTokenIssuer::new(signing("a")).issue(device, now);
        let verifier = verifier("a", None);

        let secret = secret::derive(&secret("a"), PURPOSE);
        assert_all_is_needed(&token, secret.expose_secret(), |token| {
            verifier.verify(token, now).is_some()
        });
    }
}
