//! The account that a sign-in is about, or decoys if there is none.

use shared::auth::device;
use shared::auth::lockout::{Attempt, Target};
use shared::domain::device_token::Device;
use shared::domain::id::Id;
use shared::domain::password_hash::PasswordHash;
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::Request;
use shared::random;

use crate::app::App;
use crate::request::Identifier;

/// A user and a password hash; a decoy hash if there is no user.
pub struct Account {
    pub user: Option<User>,
    pub hash: PasswordHash,
    pub attempt: Attempt,
    /// The known device that the request's device token names.
    pub device: Option<Device>,
    /// Whether the account has a session with this IP address and user agent.
    pub client_is_known: bool,
}

impl Account {
    /// Finds the account. Does the same work whether it exists or not, so that the response time reveals nothing (ASVS
    /// 5.0, 6.3.8).
    pub async fn find(
        app: &App,
        identifier: &Identifier,
        request: &Request,
    ) -> Result<Self, ApiError> {
        let (now, client) = (request.received_at(), request.client());
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
            app.sign_in.sessions.known_client(id, device_id, client),
            app.lockout.attempt(&target, client),
        );
        let mut attempt = attempt?;
        let (user, hash, known) = match (user, hash, known) {
            (Ok(user), Ok(hash), Ok(known)) => (user, hash, known),
            (user, hash, known) => {
                attempt.take_back(client).await;
                user?;
                hash?;
                known?;
                unreachable!("one of the three has failed")
            }
        };
        let is_void = |device| {
            let user = user.as_ref();
            !known.device || user.is_some_and(|user| device::is_revoked(device, user))
        };
        if device.is_some_and(is_void) {
            // Without its device token, the attempt counts like any other.
            attempt.take_back(client).await;
            target.device = None;
            attempt = app.lockout.attempt(&target, client).await?;
        }
        Ok(Self {
            user,
            hash: hash.unwrap_or_else(|| app.hasher.decoy(random::bytes())),
            attempt,
            device: target.device,
            client_is_known: known.client,
        })
    }
}
