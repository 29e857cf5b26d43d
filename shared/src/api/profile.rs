//! `GET` and `PUT /api/auth/profile`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::{Field, User, clearable};
use crate::domain;
use crate::domain::avatar_url::AvatarUrl;
use crate::domain::person_name::PersonName;
use crate::domain::provider::ProviderName;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{LinkedIdentity, PasskeyId, TwoFactorDevice};
use crate::domain::username::{NewUsername, Username};

/// The changes: a missing or empty field keeps its value, null clears it.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct UpdateProfileRequest {
    /// The username, unique without regard to case.
    #[serde(default, deserialize_with = "clearable")]
    #[schemars(with = "Option<Username>")]
    pub username: Option<Option<Field<NewUsername>>>,
    /// The display name.
    #[serde(default, deserialize_with = "clearable")]
    #[schemars(with = "Option<PersonName>")]
    pub name: Option<Option<Field<PersonName>>>,
    /// The URL of the user's picture.
    #[serde(default, deserialize_with = "clearable")]
    #[schemars(with = "Option<AvatarUrl>")]
    pub avatar_url: Option<Option<Field<AvatarUrl>>>,
}

/// The user, and what the user signs in with.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileAnswer {
    /// The user.
    pub user: User,
    /// The second factor.
    pub two_factor: TwoFactor,
    /// The passkeys, the oldest first.
    pub passkeys: Vec<Passkey>,
    /// The identities of other providers, by the provider's name.
    pub identities: Vec<Identity>,
    /// Whether the user has a password. An account that began without one gets it by a reset.
    pub has_password: bool,
}

/// An identity of another provider.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "LinkedIdentity")]
pub struct Identity {
    /// The provider.
    pub provider: ProviderName,
    /// The address at the provider when the identity was linked.
    pub email: Option<String>,
    /// The time of the link.
    pub linked_at: Timestamp,
    /// The time of the last sign-in with it.
    pub last_used_at: Option<Timestamp>,
}

impl Identity {
    /// Returns an identity as shown to its user.
    pub fn new(provider: &ProviderName, identity: &LinkedIdentity) -> Self {
        let email = identity.email.as_ref();
        Self {
            provider: provider.clone(),
            email: email.map(|email| email.as_str().to_owned()),
            linked_at: identity.linked_at,
            last_used_at: identity.last_used_at,
        }
    }
}

/// The second factor of a user.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TwoFactor {
    /// The confirmed devices.
    pub devices: Vec<Device>,
    /// The number of unused backup codes.
    pub backup_codes_left: u32,
}

/// A passkey.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Passkey {
    /// The passkey's identifier.
    pub id: PasskeyId,
    /// The name given by the user.
    pub name: String,
    /// The time of the registration.
    pub created_at: Timestamp,
    /// The time of the last sign-in with it.
    pub last_used_at: Option<Timestamp>,
}

impl Passkey {
    /// Returns a passkey as shown to its user.
    pub fn new(id: PasskeyId, passkey: &domain::user::Passkey) -> Self {
        Self {
            id,
            name: passkey.name.clone(),
            created_at: passkey.created_at,
            last_used_at: passkey.last_used_at,
        }
    }
}

/// A device that generates codes.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "TwoFactorDevice")]
pub struct Device {
    /// The device's identifier.
    pub id: String,
    /// The name given by the user.
    pub name: String,
    /// The time of the first verified code.
    pub confirmed_at: Timestamp,
}

impl From<&domain::user::User> for TwoFactor {
    fn from(user: &domain::user::User) -> Self {
        let device = |device: &TwoFactorDevice| Device {
            id: device.id.clone(),
            name: device.name.clone(),
            confirmed_at: device.confirmed_at,
        };
        Self {
            devices: user.two_factor_devices.iter().map(device).collect(),
            backup_codes_left: user.backup_codes_left,
        }
    }
}

/// The user after the change.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateProfileAnswer {
    /// The user.
    pub user: User,
}
