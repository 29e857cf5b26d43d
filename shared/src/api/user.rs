//! A user as shown to clients.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain;
use crate::domain::avatar_url::AvatarUrl;
use crate::domain::email_address::EmailAddress;
use crate::domain::person_name::PersonName;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{Role, UserId};
use crate::domain::username::Username;

/// A user, without hash, secret or internal key.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// The identifier, which never changes.
    pub id: UserId,
    /// The address as typed.
    pub email: EmailAddress,
    /// The username as typed.
    pub username: Option<Username>,
    /// The display name.
    pub name: Option<PersonName>,
    /// The URL of the user's picture.
    pub avatar_url: Option<AvatarUrl>,
    /// The user's permissions.
    pub role: Role,
    /// Whether the address is proven.
    pub email_verified: bool,
    /// Whether two-factor authentication is on.
    pub two_factor_enabled: bool,
    /// The time of the registration.
    pub created_at: Timestamp,
    /// The time of the last change.
    pub updated_at: Timestamp,
    /// The time of the last sign-in.
    pub last_login_at: Option<Timestamp>,
}

impl From<&domain::user::User> for User {
    fn from(user: &domain::user::User) -> Self {
        Self {
            id: user.id,
            email: user.email.clone(),
            username: user.username.clone(),
            name: user.name.clone(),
            avatar_url: user.avatar_url.clone(),
            role: user.role,
            email_verified: user.email_verified,
            two_factor_enabled: user.two_factor_enabled,
            created_at: user.created_at,
            updated_at: user.updated_at,
            last_login_at: user.last_login_at,
        }
    }
}

impl User {
    /// Returns a user who signs in now.
    pub fn signed_in(user: &domain::user::User, now: Timestamp) -> Self {
        Self {
            last_login_at: Some(now),
            ..user.into()
        }
    }
}
