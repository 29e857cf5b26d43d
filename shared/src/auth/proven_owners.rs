//! The owner of an address that was proven without a password: by a mailed code, or by another provider.

use super::device;
use super::sign_in::Client;
use super::unproven_accounts::UnprovenAccounts;
use crate::config::Environment;
use crate::domain::device_token::{Device, DeviceTokenVerifier};
use crate::domain::email_address::EmailAddress;
use crate::domain::id::Id;
use crate::domain::password_hash::PasswordHasher;
use crate::domain::person_name::PersonName;
use crate::domain::user::User;
use crate::error::ApiError;
use crate::http::Request;
use crate::http::cookie_mode::TokenDelivery;
use crate::store::Error;
use crate::store::sessions::Sessions;
use crate::{random, telemetry, timing};

/// Finds or creates the accounts of proven addresses.
pub struct ProvenOwners {
    /// The accounts.
    pub accounts: UnprovenAccounts,
    sessions: Sessions,
    device_tokens: DeviceTokenVerifier,
    hasher: PasswordHasher,
}

/// The owner of an address.
pub struct ProvenOwner {
    /// The user.
    pub user: User,
    /// The user's device whose token the request carries.
    pub device: Option<Device>,
    /// Whether this request has created the account, so that its first device is no new one.
    pub is_new: bool,
}

impl ProvenOwner {
    /// Describes the client with which the owner signs in.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn client<'a>(
        &self,
        sessions: &Sessions,
        request: &'a Request,
        is_remembered: bool,
        delivery: TokenDelivery,
    ) -> Result<Client<'a>, Error> {
        let device = self.device.map(|device| device.id);
        let known = sessions.known_client(self.user.id, device, request.client());
        let known = known.await?;
        Ok(Client {
            request,
            device: self.device.filter(|_| known.device),
            is_known: known.client || self.is_new,
            is_remembered,
            delivery,
        })
    }
}

impl ProvenOwners {
    /// Reads the variables of both stores, of the hasher and of device tokens.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            accounts: UnprovenAccounts::from_env(environment),
            sessions: Sessions::from_env(environment),
            device_tokens: DeviceTokenVerifier::from_env(environment),
            hasher: PasswordHasher::from_env(environment),
        }
    }

    /// Returns the owner of an address that was just proven. An account that is not there yet is created, with this name.
    /// One with an unproven address is the owner's from now on. A stranger may have registered it; so it loses its
    /// password and all settings, unless the request comes from the device on which it was registered.
    ///
    /// # Errors
    /// `service_unavailable` if the account was changed or removed meanwhile or a store does not answer, `internal_error`
    /// if a store refuses.
    pub async fn owner(
        &self,
        found: Option<User>,
        email: &EmailAddress,
        name: Option<PersonName>,
        request: &Request,
    ) -> Result<ProvenOwner, ApiError> {
        let (accounts, client) = (&self.accounts, request.client());
        let unusable = || self.hasher.decoy(random::bytes());
        let Some(user) = found else {
            let (now, email) = (client.received_at, email.clone());
            let mut user = User::new(Id::new(now, random::bytes()), email, None, name, now);
            user.email_verified = true;
            user.has_no_password = true;
            accounts.create_proven(&user, &unusable(), client).await?;
            telemetry::count("Registrations", &[]);
            return Ok(ProvenOwner {
                user,
                device: None,
                is_new: true,
            });
        };
        let device = self.device(&user, request);
        if user.email_verified || !user.is_active() {
            return Ok(ProvenOwner {
                user,
                device,
                is_new: false,
            });
        }
        let kept = device.is_some();
        let hash = (!kept).then(unusable);
        accounts.prove(&user, hash.as_ref(), client).await?;
        if !kept {
            let all = self.sessions.revoke_all(user.id);
            timing::best_effort("removing a stranger's sessions", all).await;
        }
        let user = accounts.users.find(user.id, client.received_at).await?;
        let removed = || ApiError::ServiceUnavailable("the account was removed".into());
        Ok(ProvenOwner {
            user: user.ok_or_else(removed)?,
            device,
            is_new: false,
        })
    }

    /// Returns the user's device whose token the request carries, if the token is not revoked.
    pub fn device(&self, user: &User, request: &Request) -> Option<Device> {
        let presented = device::presented(&self.device_tokens, user.id, request);
        presented.filter(|device| !device::is_revoked(*device, user))
    }
}
