//! The account that somebody wants to sign in to, or stand-ins for what there is not.

use shared::api::Field;
use shared::domain::device_token::Device;
use shared::domain::email_address::EmailAddress;
use shared::domain::id::Id;
use shared::domain::password_hash::PasswordHash;
use shared::domain::rule::Parse;
use shared::domain::user::User;
use shared::domain::username::Username;
use shared::error::ApiError;
use shared::http::lockout::{self, Attempt};
use shared::http::{Request, device};
use shared::random;
use shared::store::rate_limiter::TextHash;
use shared::store::sessions::Epoch;

use crate::handler::App;

/// What names an account.
pub enum Identifier {
    Email(EmailAddress),
    Username(Username),
    /// Can name no account, but takes the time of one that could.
    Impossible(String),
}

impl Identifier {
    /// Of three fields, the one that is given.
    pub fn of(
        email: Option<Field<EmailAddress>>,
        username: Option<Field<String>>,
        identifier: Option<Field<String>>,
    ) -> Self {
        let email = email.map(|email| Self::Email(email.into_inner()));
        let username = username.map(|text| Self::username(text.into_inner().trim()));
        let either = || Self::either(&identifier.map(Field::into_inner).unwrap_or_default());
        email.or(username).unwrap_or_else(either)
    }

    fn username(text: &str) -> Self {
        let impossible = |_| Self::Impossible(text.to_lowercase());
        Username::parse(text).map_or_else(impossible, Self::Username)
    }

    /// In every spelling the same.
    fn canonical(&self) -> String {
        match self {
            Self::Email(email) => email.canonical(),
            Self::Username(username) => username.canonical(),
            Self::Impossible(text) => text.clone(),
        }
    }

    fn either(text: &str) -> Self {
        EmailAddress::parse(text).map_or_else(|_| Self::username(text.trim()), Self::Email)
    }
}

/// What is compared with: a user and a hash, or stand-ins for what there is not.
pub struct Account {
    pub user: Option<User>,
    pub hash: PasswordHash,
    pub attempt: Attempt,
    /// The device that the account has signed in from before, by its token.
    pub device: Option<Device>,
    /// Whether the request comes from where the account is signed in already.
    pub origin_is_known: bool,
    /// When this sign-in began, as the account's sessions count it.
    pub epoch: Epoch,
}

impl Account {
    /// The same work whether the account exists or not, so that time tells nobody (ASVS
    /// 5.0, 6.3.8).
    pub async fn find(
        app: &App,
        identifier: &Identifier,
        request: &Request,
    ) -> Result<Self, ApiError> {
        let now = request.received_at();
        let claimed = match identifier {
            Identifier::Email(email) => app.users.find_id_by_email(email, now).await?,
            Identifier::Username(username) => app.users.find_id_by_username(username, now).await?,
            Identifier::Impossible(_) => {
                app.users.find(Id::new(now, random::bytes()), now).await?;
                None
            }
        };
        let id = claimed.unwrap_or_else(|| Id::new(now, random::bytes()));
        let account = match claimed {
            Some(id) => lockout::Account::Known(id),
            None => lockout::Account::Unknown(TextHash::of(&identifier.canonical())),
        };
        let device = device::presented(&app.device_tokens, id, request);
        let (user, hash, sessions, attempt) = tokio::join!(
            app.users.find(id, now),
            app.credentials.find_password(id, now),
            app.sessions.before_sign_in(id, request.origin()),
            app.lockout.attempt(&account, device, request),
        );
        let attempt = attempt?;
        let (user, hash, (origin_is_known, epoch)) = match (user, hash, sessions) {
            (Ok(user), Ok(hash), Ok(sessions)) => (user, hash, sessions),
            (user, hash, sessions) => {
                app.lockout.take_back(&attempt, request).await;
                user?;
                hash?;
                sessions?;
                unreachable!("one of the three has failed")
            }
        };
        let mut account_found = Self {
            user,
            hash: hash.unwrap_or_else(|| app.hasher.stand_in(random::bytes())),
            attempt,
            device,
            origin_is_known,
            epoch,
        };
        if account_found.device_is_void() {
            // It counts like everybody else's.
            app.lockout.take_back(&account_found.attempt, request).await;
            account_found.attempt = app.lockout.attempt(&account, None, request).await?;
            account_found.device = None;
        }
        Ok(account_found)
    }

    /// A reset of the password voids the device tokens of before.
    fn device_is_void(&self) -> bool {
        let since = self.user.as_ref().and_then(|user| user.device_tokens_since);
        matches!((self.device, since), (Some(device), Some(since)) if device.id.time() < since)
    }
}
