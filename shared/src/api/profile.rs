//! `GET` and `PUT /api/auth/profile`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::{Field, User, clearable};
use crate::domain;
use crate::domain::avatar_url::AvatarUrl;
use crate::domain::person_name::PersonName;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::TwoFactorDevice;
use crate::domain::username::{NewUsername, Username};

/// What is to change: a field that is missing or empty stays, null clears it.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct UpdateProfileRequest {
    /// Unique without regard to case.
    #[serde(default, deserialize_with = "clearable")]
    #[schemars(with = "Option<Username>")]
    pub username: Option<Option<Field<NewUsername>>>,
    /// How the user wants to be called.
    #[serde(default, deserialize_with = "clearable")]
    #[schemars(with = "Option<PersonName>")]
    pub name: Option<Option<Field<PersonName>>>,
    /// Where the user's picture is.
    #[serde(default, deserialize_with = "clearable")]
    #[schemars(with = "Option<AvatarUrl>")]
    pub avatar_url: Option<Option<Field<AvatarUrl>>>,
}

/// The user as the record is now.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileAnswer {
    /// The user.
    pub user: User,
    /// The second factor.
    pub two_factor: TwoFactor,
}

/// The second factor of a user.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TwoFactor {
    /// The devices that are confirmed.
    pub devices: Vec<Device>,
    /// How many backup codes are unused.
    pub backup_codes_left: u32,
}

/// A device that makes codes.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Names it.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// When its first code was verified.
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
