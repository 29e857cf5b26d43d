//! Users.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::avatar_url::AvatarUrl;
use super::custom_claims::CustomClaims;
use super::email_address::EmailAddress;
use super::email_token::{TokenHash, TokenId};
use super::id::SessionId;
pub use super::id::{PasskeyId, UserId};
use super::person_name::PersonName;
use super::provider::{ExternalIdentity, IdentityId, ProviderName};
use super::session::SessionEpoch;
use super::timestamp::Timestamp;
use super::username::Username;

/// A user's record. Its field names are the attributes of the item `USER#<id>`/`PROFILE`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    /// The identifier, which never changes.
    pub id: UserId,
    /// The address as typed; compared by its canonical form.
    pub email: EmailAddress,
    /// The username as typed; compared by its canonical form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Username>,
    /// The display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<PersonName>,
    /// The URL of the user's picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<AvatarUrl>,
    /// The user's permissions.
    pub role: Role,
    /// The claims of an application's own, set by an operator.
    #[serde(default, skip_serializing_if = "CustomClaims::is_empty")]
    pub claims: CustomClaims,
    /// Whether the user may sign in at all.
    pub status: Status,
    /// Whether the address is proven.
    pub email_verified: bool,
    /// Whether two-factor authentication is on.
    pub two_factor_enabled: bool,
    /// The confirmed devices; their secrets are in the credentials table.
    #[serde(default)]
    pub two_factor_devices: Vec<TwoFactorDevice>,
    /// The number of unused backup codes.
    #[serde(default)]
    pub backup_codes_left: u32,
    /// The passkeys, the oldest first; their public keys are in the credentials table.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub passkeys: BTreeMap<PasskeyId, Passkey>,
    /// The identities of other providers with which the user signs in, at most one of each provider.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub identities: BTreeMap<ProviderName, LinkedIdentity>,
    /// Whether nobody has set a password: the account was created by another proof of the address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_no_password: bool,
    /// The time of the registration.
    pub created_at: Timestamp,
    /// The time of the last change.
    pub updated_at: Timestamp,
    /// The time of the last sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_login_at: Option<Timestamp>,
    /// The only valid verification token: a newer one replaces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification_token: Option<TokenHash>,
    /// The token of the link "this wasn't me" for the owner of the address; the same in all mails until the address is
    /// proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<Rejection>,
    /// The only valid token that turns the second factor off, while the second factor is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_token: Option<TokenHash>,
    /// The number of wrong passwords and codes since the last sign-in.
    #[serde(default)]
    pub failed_attempts: u32,
    /// Whether sign-in is blocked until a new password is set by mail.
    #[serde(default)]
    pub password_reset_required: bool,
    /// The only valid reset token: a newer one replaces it, a new password removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_token: Option<TokenHash>,
    /// The session epoch: only sessions of this epoch are valid.
    #[serde(default)]
    pub session_epoch: SessionEpoch,
    /// The one session of an earlier epoch that stays valid: the one that requested the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_session: Option<SessionId>,
    /// The time of the last new password: earlier device tokens are revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_tokens_since: Option<Timestamp>,
    /// The expiry of the record in seconds since 1970: of a deleted account, or of an account with an unproven address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<i64>,
    /// The number of changes of the record, so that concurrent changes cannot overwrite each other.
    pub version: u64,
}

/// The attributes of a user's record that decide on the user's sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct AccountStatus {
    /// The user's permissions.
    pub role: Role,
    /// Whether the user may sign in at all.
    pub status: Status,
    #[serde(default)]
    session_epoch: SessionEpoch,
    #[serde(default)]
    kept_session: Option<SessionId>,
}

/// The attributes of a user's record that a refresh needs: for the decision, and for the new tokens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TokenSubject {
    /// What decides on the session.
    #[serde(flatten)]
    pub account: AccountStatus,
    /// The application's own claims.
    #[serde(default)]
    pub claims: CustomClaims,
}

impl TokenSubject {
    /// The names of these attributes.
    pub const ATTRIBUTES: &[&str] = &["role", "status", "session_epoch", "kept_session", "claims"];
}

impl AccountStatus {
    /// Returns whether the user's record allows this session of this epoch.
    pub fn allows_session(&self, id: SessionId, epoch: SessionEpoch) -> bool {
        self.status.is_active() && (epoch == self.session_epoch || self.kept_session == Some(id))
    }
}

/// A rejection token, which is repeated in each mail: its identifier for the outbox and its stored hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The identifier, for the outbox.
    pub token_id: TokenId,
    /// The hash, which names its item.
    pub token: TokenHash,
}

/// The maximum number of second-factor devices per account.
pub const MAX_TWO_FACTOR_DEVICES: usize = 5;

/// A device that generates codes for the second factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwoFactorDevice {
    /// The device's identifier in requests.
    pub id: String,
    /// The name given by the user.
    pub name: String,
    /// The time of the first verified code.
    pub confirmed_at: Timestamp,
}

/// The maximum number of passkeys per account.
pub const MAX_PASSKEYS: usize = 10;

/// A passkey as its user sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passkey {
    /// The credential id in base64url, chosen by the authenticator.
    pub credential_id: String,
    /// The name given by the user.
    pub name: String,
    /// The time of the registration.
    pub created_at: Timestamp,
    /// The time of the last sign-in with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
}

/// An identity of another provider as its user sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkedIdentity {
    /// The issuer of the identity.
    pub issuer: String,
    /// The identifier of the user at the issuer.
    pub subject: String,
    /// The address at the provider when the identity was linked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<EmailAddress>,
    /// The time of the link.
    pub linked_at: Timestamp,
    /// The time of the last sign-in with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
}

impl LinkedIdentity {
    /// Returns what names the identity for ever.
    pub fn id(&self) -> IdentityId {
        IdentityId {
            issuer: self.issuer.clone(),
            subject: self.subject.clone(),
        }
    }

    /// Returns whether this is the identity.
    pub fn is(&self, id: &IdentityId) -> bool {
        (&self.issuer, &self.subject) == (&id.issuer, &id.subject)
    }
}

/// A passkey or an identity with which a user signs in. The user's record must still list it when the sign-in is
/// recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsedMethod {
    /// A passkey.
    Passkey(PasskeyId),
    /// The identity that is listed under this provider.
    Identity(ProviderName, IdentityId),
}

impl UsedMethod {
    /// Returns whether the user's record lists it.
    pub fn is_listed(&self, user: &User) -> bool {
        match self {
            Self::Passkey(id) => user.passkeys.contains_key(id),
            Self::Identity(provider, id) => {
                let identity = user.identities.get(provider);
                identity.is_some_and(|identity| identity.is(id))
            }
        }
    }
}

/// The permissions of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A user who registered.
    User,
    /// An administrator, appointed by an operator in the record, never through the API.
    Admin,
}

/// Whether a user may sign in at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The user may sign in.
    Active,
    /// An operator has disabled the account.
    Disabled,
    /// The user has deleted the account; it is purged when the items' `ttl` has passed.
    Deleted,
}

impl Status {
    /// Returns whether the user may hold sessions.
    pub fn is_active(self) -> bool {
        self == Self::Active
    }
}

impl User {
    /// Creates a user who has just registered.
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
            claims: CustomClaims::default(),
            status: Status::Active,
            email_verified: false,
            two_factor_enabled: false,
            two_factor_devices: Vec::new(),
            backup_codes_left: 0,
            passkeys: BTreeMap::new(),
            identities: BTreeMap::new(),
            has_no_password: false,
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

    /// Returns the entry of an identity. The configuration may have given its provider another name since it was linked.
    pub fn identity(
        &self,
        identity: &ExternalIdentity,
    ) -> Option<(&ProviderName, &LinkedIdentity)> {
        let id = identity.id();
        self.identities.iter().find(|(_, linked)| linked.is(&id))
    }

    /// Returns whether the user may hold sessions.
    pub fn is_active(&self) -> bool {
        self.status.is_active()
    }

    /// Returns the attributes that decide on the user's sessions.
    pub fn account_status(&self) -> AccountStatus {
        AccountStatus {
            role: self.role,
            status: self.status,
            session_epoch: self.session_epoch,
            kept_session: self.kept_session,
        }
    }

    /// Checks whether the authenticated user may sign in. Starting a session requires the returned [`SignInAllowed`],
    /// so this check cannot be left out.
    ///
    /// # Errors
    /// [`SignInRefused`] with the reason.
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
    /// Returns the user.
    pub fn user(&self) -> &User {
        self.0
    }
}

/// Why a user may not sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInRefused {
    /// The user has deleted the account.
    Deleted,
    /// An operator has disabled the account.
    Disabled,
    /// The address must be proven first.
    Unverified,
    /// A new password must be set first.
    ResetRequired,
}

#[cfg(test)]
mod tests {
    use super::super::id::Id;
    use super::super::rule::Parse;
    use super::*;

    fn user() -> User {
        let now = Timestamp::from_milliseconds(1_700_000_000_000);
        let email = EmailAddress::parse("ada@example.com").unwrap();
        User::new(Id::new(now, [1; 16]), email, None, None, now)
    }

    #[test]
    fn a_session_is_allowed_in_its_epoch_or_if_it_was_kept() {
        let (first, second) = (SessionEpoch::default(), SessionEpoch::default().next());
        let kept: SessionId = Id::new(Timestamp::from_milliseconds(1), [1; 16]);
        let other: SessionId = Id::new(Timestamp::from_milliseconds(1), [2; 16]);
        let user = User {
            session_epoch: second,
            kept_session: Some(kept),
            ..user()
        };
        let status = user.account_status();
        assert!(user.is_active());
        assert!(status.allows_session(kept, first));
        assert!(status.allows_session(other, second));
        assert!(!status.allows_session(other, first));

        for status in [Status::Disabled, Status::Deleted] {
            let user = User {
                status,
                ..user.clone()
            };
            assert!(!user.is_active());
            assert!(!user.account_status().allows_session(kept, second));
        }
    }

    #[test]
    fn a_sign_in_is_refused_with_its_reason() {
        let refused = |user: &User, is_required| user.check_sign_in(is_required).err();
        let with = |status, password_reset_required, email_verified| User {
            status,
            password_reset_required,
            email_verified,
            ..user()
        };

        let unverified = with(Status::Active, false, false);
        assert_eq!(refused(&unverified, false), None);
        assert_eq!(refused(&unverified, true), Some(SignInRefused::Unverified));
        let verified = with(Status::Active, false, true);
        assert_eq!(verified.check_sign_in(true).unwrap().user().id, verified.id);
        for (user, reason) in [
            (
                with(Status::Active, true, true),
                SignInRefused::ResetRequired,
            ),
            (with(Status::Disabled, true, true), SignInRefused::Disabled),
            (with(Status::Deleted, true, true), SignInRefused::Deleted),
        ] {
            assert_eq!(refused(&user, false), Some(reason));
        }
    }
}
