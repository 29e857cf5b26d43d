//! A user as clients see one.

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
    /// Never changes.
    pub id: UserId,
    /// As it was typed.
    pub email: EmailAddress,
    /// As it was typed.
    pub username: Option<Username>,
    /// How the user wants to be called.
    pub name: Option<PersonName>,
    /// Where the user's picture is.
    pub avatar_url: Option<AvatarUrl>,
    /// What the user may do.
    pub role: Role,
    /// Whether the owner of the address has proven it.
    pub email_verified: bool,
    /// Whether a second factor is asked for.
    pub two_factor_enabled: bool,
    /// When the user registered.
    pub created_at: Timestamp,
    /// When the record last changed.
    pub updated_at: Timestamp,
    /// When the user last signed in with a password.
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
