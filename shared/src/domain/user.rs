//! A user as the rest of the system sees one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::avatar_url::AvatarUrl;
use super::email_address::EmailAddress;
use super::email_token::{TokenHash, TokenId};
use super::id::SessionId;
pub use super::id::UserId;
use super::person_name::PersonName;
use super::session::SessionEpoch;
use super::timestamp::Timestamp;
use super::username::Username;

/// A user's record. Its field names are the attributes of the item `USER#<id>`/`PROFILE`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    /// Never changes.
    pub id: UserId,
    /// As typed; compared by its canonical form.
    pub email: EmailAddress,
    /// As typed; compared by its canonical form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Username>,
    /// How the user wants to be called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<PersonName>,
    /// Where the user's picture is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<AvatarUrl>,
    /// What the user may do.
    pub role: Role,
    /// Whether the user may sign in at all.
    pub status: Status,
    /// Whether the owner of the address has proven it.
    pub email_verified: bool,
    /// Whether a second factor is asked for.
    pub two_factor_enabled: bool,
    /// The confirmed devices; their secrets are in the credentials table.
    #[serde(default)]
    pub two_factor_devices: Vec<TwoFactorDevice>,
    /// How many backup codes are unused.
    #[serde(default)]
    pub backup_codes_left: u32,
    /// When the user registered.
    pub created_at: Timestamp,
    /// When the record last changed.
    pub updated_at: Timestamp,
    /// When the user last signed in with a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_login_at: Option<Timestamp>,
    /// The one verification token that is valid: a newer one takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification_token: Option<TokenHash>,
    /// The token by which the owner of the address says "this wasn't me"; the same in all mails, until the
    /// address is proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<Rejection>,
    /// The one token that turns the second factor off again, since it was turned on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_token: Option<TokenHash>,
    /// Wrong passwords and codes since the last sign-in.
    #[serde(default)]
    pub failed_attempts: u32,
    /// Nobody signs in before a new password was set by mail.
    #[serde(default)]
    pub password_reset_required: bool,
    /// The one reset token that is valid: a newer one takes its place, a new password removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_token: Option<TokenHash>,
    /// Which sessions are good.
    #[serde(default)]
    pub session_epoch: SessionEpoch,
    /// A session of an earlier epoch that is good all the same: the one that asked for the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_session: Option<SessionId>,
    /// Device tokens of before are void: when there was last a new password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_tokens_since: Option<Timestamp>,
    /// When the record goes, in seconds since 1970: of a deleted account, or of one whose address nobody proves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<i64>,
    /// Counts the changes of the record, so that two of them cannot overwrite each other.
    pub version: u64,
}

/// What of a user's record decides on the user's sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct AccountStatus {
    /// What the user may do.
    pub role: Role,
    /// Whether the user may sign in at all.
    pub status: Status,
    #[serde(default)]
    session_epoch: SessionEpoch,
    #[serde(default)]
    kept_session: Option<SessionId>,
}

impl AccountStatus {
    /// The attributes of the record that it consists of.
    pub const ATTRIBUTES: &[&str] = &["role", "status", "session_epoch", "kept_session"];

    /// Whether this session, of this epoch, is good by the user's record.
    pub fn allows_session(&self, id: SessionId, epoch: SessionEpoch) -> bool {
        self.status.is_active() && (epoch == self.session_epoch || self.kept_session == Some(id))
    }
}

/// A token that comes again in each mail: what derives it, and what is stored of it elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// For the outbox.
    pub token_id: TokenId,
    /// Names its item.
    pub token: TokenHash,
}

/// The most devices for the second factor that an account has.
pub const MAX_TWO_FACTOR_DEVICES: usize = 5;

/// A device that makes codes for the second factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwoFactorDevice {
    /// Names the device in requests.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// When its first code was verified.
    pub confirmed_at: Timestamp,
}

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everybody who registers.
    User,
    /// Set in the record by an operator, never through the API.
    Admin,
}

/// Whether a user may sign in at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Yes.
    Active,
    /// No, by an operator's decision.
    Disabled,
    /// No, by the user's own; purged when the items' `ttl` has passed.
    Deleted,
}

impl Status {
    /// Whether the user may hold sessions.
    pub fn is_active(self) -> bool {
        self == Self::Active
    }
}

impl User {
    /// A user who has just registered.
    pub fn new(
        id: UserId,
        email: EmailAddress,
        username: Option<Username>,
        name: Option<PersonName>,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            email,
            username,
            name,
            avatar_url: None,
            role: Role::User,
            status: Status::Active,
            email_verified: false,
            two_factor_enabled: false,
            two_factor_devices: Vec::new(),
            backup_codes_left: 0,
            created_at: now,
            updated_at: now,
            last_login_at: None,
            verification_token: None,
            rejection: None,
            undo_token: None,
            failed_attempts: 0,
            password_reset_required: false,
            reset_token: None,
            session_epoch: SessionEpoch::default(),
            kept_session: None,
            device_tokens_since: None,
            ttl: None,
            version: 1,
        }
    }

    /// Whether the user may hold sessions.
    pub fn is_active(&self) -> bool {
        self.status.is_active()
    }

    /// What decides on the user's sessions.
    pub fn account_status(&self) -> AccountStatus {
        AccountStatus {
            role: self.role,
            status: self.status,
            session_epoch: self.session_epoch,
            kept_session: self.kept_session,
        }
    }

    /// Whether the user may sign in, now that it is certain that it is the user. Whatever starts a
    /// session asks here, because a session cannot be started for anybody else.
    ///
    /// # Errors
    /// Why not.
    pub fn check_sign_in(
        &self,
        verification_is_required: bool,
    ) -> Result<SignInAllowed<'_>, SignInRefused> {
        match self.status {
            Status::Deleted => Err(SignInRefused::Deleted),
            Status::Disabled => Err(SignInRefused::Disabled),
            Status::Active if self.password_reset_required => Err(SignInRefused::ResetRequired),
            Status::Active if verification_is_required && !self.email_verified => {
                Err(SignInRefused::Unverified)
            }
            Status::Active => Ok(SignInAllowed(self)),
        }
    }
}

/// A user who may sign in.
#[derive(Clone, Copy, Debug)]
pub struct SignInAllowed<'a>(&'a User);

impl SignInAllowed<'_> {
    /// The user.
    pub fn user(&self) -> &User {
        self.0
    }
}

/// Why a user may not sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInRefused {
    /// By the user's own decision.
    Deleted,
    /// By an operator's.
    Disabled,
    /// The address must be proven first.
    Unverified,
    /// A new password must be set first.
    ResetRequired,
}
