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
use shared::http::lockout::{Attempt, Target};
use shared::http::{Request, device};
use shared::random;
use shared::store::rate_limiter::{TextHash, TextHasher};

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
        let impossible = |_| Self::Impossible(text.to_owned());
        Username::parse(text).map_or_else(impossible, Self::Username)
    }

    /// In every spelling the same.
    fn hash(&self, hasher: &TextHasher) -> TextHash {
        match self {
            Self::Email(email) => hasher.email(email),
            Self::Username(username) => hasher.username(username),
            Self::Impossible(text) => hasher.impossible(text),
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
        let device = device::presented(&app.device_tokens, id, request);
        let mut target = Target {
            typed: identifier.hash(&app.lockout.hasher),
            user_id: claimed,
            device,
        };
        let device_id = device.map(|device| device.id);
        let (user, hash, known, attempt) = tokio::join!(
            app.users.find(id, now),
            app.credentials.find_password(id, now),
            app.sessions.before_sign_in(id, device_id, request.origin()),
            app.lockout.attempt(&target, request),
        );
        let mut attempt = attempt?;
        let (user, hash, known) = match (user, hash, known) {
            (Ok(user), Ok(hash), Ok(known)) => (user, hash, known),
            (user, hash, known) => {
                attempt.take_back(request).await;
                user?;
                hash?;
                known?;
                unreachable!("one of the three has failed")
            }
        };
        let is_void = |device| {
            let user = user.as_ref();
            !known.device || user.is_some_and(|user| device::is_void(device, user))
        };
        if device.is_some_and(is_void) {
            // It counts like everybody else's.
            attempt.take_back(request).await;
            target.device = None;
            attempt = app.lockout.attempt(&target, request).await?;
        }
        Ok(Self {
            user,
            hash: hash.unwrap_or_else(|| app.hasher.stand_in(random::bytes())),
            attempt,
            device: target.device,
            origin_is_known: known.origin,
        })
    }
}
