//! What a client sees of a user and of tokens.

use serde::Serialize;

use crate::domain::avatar_url::AvatarUrl;
use crate::domain::secret::Secret;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{Role, TwoFactorDevice, User, UserId};
use crate::domain::username::Username;

/// A user, without hash, secret or internal key.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserBody {
    id: UserId,
    email: String,
    username: Option<String>,
    name: Option<String>,
    avatar_url: Option<String>,
    role: Role,
    email_verified: bool,
    two_factor_enabled: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
    last_login_at: Option<Timestamp>,
}

impl From<&User> for UserBody {
    fn from(user: &User) -> Self {
        Self {
            id: user.id,
            email: user.email.as_str().to_owned(),
            username: user
                .username
                .as_ref()
                .map(Username::as_str)
                .map(str::to_owned),
            name: user.name.as_ref().map(|name| name.as_str().to_owned()),
            avatar_url: user
                .avatar_url
                .as_ref()
                .map(AvatarUrl::as_str)
                .map(str::to_owned),
            role: user.role,
            email_verified: user.email_verified,
            two_factor_enabled: user.two_factor_enabled,
            created_at: user.created_at,
            updated_at: user.updated_at,
            last_login_at: user.last_login_at,
        }
    }
}

/// The second factor of a user: its devices and how many backup codes are left.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TwoFactorBody {
    devices: Vec<DeviceBody>,
    backup_codes_left: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeviceBody {
    id: String,
    name: String,
    confirmed_at: Timestamp,
}

impl From<&User> for TwoFactorBody {
    fn from(user: &User) -> Self {
        let device = |device: &TwoFactorDevice| DeviceBody {
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

/// The tokens of a session, as they are handed out once.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokensBody {
    #[serde(serialize_with = "exposed")]
    pub(super) access_token: Secret,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exposed_if_any"
    )]
    pub(super) refresh_token: Option<Secret>,
    pub(super) token_type: &'static str,
    pub(super) expires_in: u64,
    pub(super) refresh_expires_in: u64,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exposed_if_any"
    )]
    pub(super) csrf_token: Option<Secret>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exposed_if_any"
    )]
    pub(super) device_token: Option<Secret>,
}

fn exposed<S: serde::Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

fn exposed_if_any<S: serde::Serializer>(
    secret: &Option<Secret>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(Secret::expose).serialize(serializer)
}
