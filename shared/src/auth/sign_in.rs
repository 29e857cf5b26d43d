//! The start of a session: the one place where a sign-in, whatever its method, becomes a session and a record.
//!
//! The session is in Redis and the record in DynamoDB; either write can fail, and the account can change between the
//! check and the writes. Usually both are written at the same time. If the record uses up something that must not be
//! lost without a session, such as a code, the session is started first.
//!
//! | session started | record written | what happens |
//! |---|---|---|
//! | yes | yes | the client gets the session's tokens |
//! | yes | refused: the account was deleted or disabled | the session is ended; the method's own error or `account_disabled` |
//! | yes | refused: the proof does not hold any more (a new password, a removed passkey) | the session is ended; the method's own error |
//! | yes | refused: another request used the code | the session is ended; `two_factor_invalid` |
//! | yes | refused: another change that ends sessions | the session is ended; `service_unavailable` |
//! | yes | no answer | the session is ended; `service_unavailable` |
//! | no, or no token for it | yes, and nothing was used up | a failure is added to the audit log; `service_unavailable` |
//! | no, or no token for it | not attempted, as it uses something up | `service_unavailable`; the code still works |
//!
//! A change of the account *after* the record is no race: it increments `session_epoch` in its own transaction, so the
//! user's record rejects the session.

use std::time::Duration;

use super::token_issuer::{TokenIssuer, Tokens};
use super::tokens::{refresh_expiry, remember_me_expiry, session_max_age};
use crate::config::Environment;
use crate::domain::device_token::{Device, DeviceTokenIssuer};
use crate::domain::id::Id;
use crate::domain::session::{AuthenticationMethods, Lifetime, SessionId};
use crate::domain::user::{SignInAllowed, SignInRefused, UsedMethod, User, UserId};
use crate::error::ApiError;
use crate::http::Request;
use crate::http::cookie_mode::TokenDelivery;
use crate::store::audit::{self, Audit, Event, Outcome};
use crate::store::dynamodb::{DynamoDb, TransactionError, Write};
use crate::store::outbox::{Kind, Links, Outbox};
use crate::store::sessions::{NewSession, Sessions};
use crate::store::users::Users;
use crate::{random, timing};

/// Starts sessions and records sign-ins.
pub struct SignIn {
    dynamodb: DynamoDb,
    users: Users,
    audit: Audit,
    outbox: Outbox,
    /// The sessions and devices of all users.
    pub sessions: Sessions,
    tokens: TokenIssuer,
    device_tokens: DeviceTokenIssuer,
    refresh_expiry: Duration,
    remember_me_expiry: Duration,
    session_max_age: Duration,
    verification_is_required: bool,
}

/// What a client has proven. It must still hold when the sign-in is recorded.
pub struct Proof {
    /// The event in the audit log.
    pub event: Event,
    /// The methods, for `amr`.
    pub methods: AuthenticationMethods,
    /// The writes that check the proof again, or use it up. If several are refused, the first one is reported: the most
    /// informative comes first.
    pub writes: Vec<Write<Refused>>,
    /// Whether a write uses something up, which must not be lost without a session.
    pub is_used_up: bool,
    /// The passkey or the identity, if one was used: its use is noted in the record, which refuses one that was removed
    /// meanwhile.
    pub used: Option<UsedMethod>,
    /// Whether a backup code is among the proofs: its use is mailed to the owner and ends the other sessions.
    pub has_backup_code: bool,
    /// The error if the proof does not hold any more, or if the account was deleted.
    pub refusal: fn() -> ApiError,
}

/// The client that signs in.
pub struct Client<'a> {
    /// The request.
    pub request: &'a Request,
    /// The user's device whose token the request carries, if the user has signed in from it before.
    pub device: Option<Device>,
    /// Whether the account has a session with this IP address and user agent.
    pub is_known: bool,
    /// Whether the user asked to be remembered.
    pub is_remembered: bool,
    /// How the tokens are delivered.
    pub delivery: TokenDelivery,
}

/// Why a sign-in was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Since the record was read, the account was deleted or disabled, its password was changed, or the second factor
    /// was turned on or off.
    Changed,
    /// The proof does not hold any more.
    ProofChanged,
    /// Another request has used the code.
    CodeUsed,
    /// A random identifier is already taken.
    Collision,
}

impl SignIn {
    /// Reads `REQUIRE_VERIFIED_EMAIL`, the lifetimes of sessions, and the variables of both stores and of the tokens.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            dynamodb: DynamoDb::from_env(environment),
            users: Users::from_env(environment),
            audit: Audit::from_env(environment),
            outbox: Outbox::from_env(environment),
            sessions: Sessions::from_env(environment),
            tokens: TokenIssuer::from_env(environment),
            device_tokens: DeviceTokenIssuer::from_env(environment),
            refresh_expiry: refresh_expiry(environment),
            remember_me_expiry: remember_me_expiry(environment),
            session_max_age: session_max_age(environment),
            verification_is_required: environment.boolean("REQUIRE_VERIFIED_EMAIL", false),
        }
    }

    /// Decides whether a user who has proven their identity may sign in. Whoever has a proof may know the account's
    /// state; `gone` is the answer for a deleted account, which must look like a wrong proof.
    ///
    /// # Errors
    /// `gone`, `account_disabled`, `email_not_verified` or `password_reset_required`.
    pub fn check<'a>(&self, user: &'a User, gone: ApiError) -> Result<SignInAllowed<'a>, ApiError> {
        let allowed = user.check_sign_in(self.verification_is_required);
        allowed.map_err(|refused| match refused {
            SignInRefused::Deleted => gone,
            SignInRefused::Disabled => ApiError::AccountDisabled,
            SignInRefused::Unverified => ApiError::EmailNotVerified,
            SignInRefused::ResetRequired => ApiError::PasswordResetRequired,
        })
    }

    /// Starts the session and records the sign-in; the table above lists the outcomes. `settle` runs beside the record:
    /// it takes back what was counted as a failure.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn start(
        &self,
        allowed: SignInAllowed<'_>,
        proof: Proof,
        client: &Client<'_>,
        settle: impl Future<Output = ()> + Send,
    ) -> Result<Tokens, ApiError> {
        let user = allowed.user();
        let (now, info) = (client.request.received_at(), client.request.client());
        let session_id = Id::new(now, random::bytes());
        let device = client.device.unwrap_or_else(|| Device {
            id: Id::new(now, random::bytes()),
            user_id: user.id,
        });
        let new = self.new_session(session_id, device, user, &proof, client);
        let (events, has_backup_code) = (proof.events(), proof.has_backup_code);
        let (event, is_used_up) = (proof.event, proof.is_used_up);
        let start = async {
            let session = self.sessions.start(&new, allowed, info).await?;
            let (role, claims) = (user.role, &user.claims);
            let issued = self
                .tokens
                .issue(&session, role, claims, client.delivery, now);
            Ok::<_, ApiError>(issued.await?)
        };
        let record = self.record(user, proof, client, settle);
        let started = match is_used_up {
            false => match tokio::join!(start, record) {
                (Err(error), Ok(())) => {
                    let recorded = self.audit.record(user.id, event, Outcome::Failure, info);
                    timing::best_effort("the record of a failed sign-in", recorded).await;
                    Err(error)
                }
                (started, recorded) => recorded.and(started),
            },
            true => match start.await {
                Ok(tokens) => record.await.map(|()| tokens),
                Err(error) => Err(error),
            },
        };
        let tokens = match started {
            Ok(tokens) => tokens,
            Err(error) => {
                self.discard(session_id, user.id).await;
                if client.device.is_none() {
                    self.discard(device.id, user.id).await;
                }
                return Err(error);
            }
        };
        for event in events {
            audit::log(Some(user.id), event, Outcome::Success, info);
        }
        if has_backup_code {
            let others = self.sessions.revoke_others(session_id, user.id);
            timing::best_effort("ending the other sessions", others).await;
        }
        Ok(tokens.with_device_token(self.device_tokens.issue(device, now)))
    }

    fn new_session(
        &self,
        id: SessionId,
        device: Device,
        user: &User,
        proof: &Proof,
        client: &Client<'_>,
    ) -> NewSession {
        let is_remembered = client.is_remembered;
        NewSession {
            id,
            methods: proof.methods,
            lifetime: Lifetime {
                is_remembered,
                idle: match is_remembered {
                    true => self.remember_me_expiry,
                    false => self.refresh_expiry,
                },
                maximum: self.session_max_age,
            },
            // A backup code ends all other sessions by starting a new epoch: this session belongs to the new one.
            epoch: match proof.has_backup_code {
                true => user.session_epoch.next(),
                false => user.session_epoch,
            },
            device: device.id,
        }
    }

    async fn record(
        &self,
        user: &User,
        proof: Proof,
        client: &Client<'_>,
        settle: impl Future<Output = ()>,
    ) -> Result<(), ApiError> {
        let (refusal, used) = (proof.refusal, proof.used.clone());
        let writes = self.writes(user, proof, client);
        let (recorded, ()) = tokio::join!(self.dynamodb.transact(writes), settle);
        match recorded {
            Err(TransactionError::Refused(Refused::ProofChanged)) => Err(refusal()),
            Err(TransactionError::Refused(Refused::Changed)) => {
                let now = client.request.received_at();
                let user = self.users.find(user.id, now).await?;
                let user = user.ok_or_else(refusal)?;
                if used.is_some_and(|used| !used.is_listed(&user)) {
                    return Err(refusal());
                }
                match self.check(&user, refusal()) {
                    Err(error) if !user.is_active() => Err(error),
                    _ => Err(Refused::Changed.into()),
                }
            }
            recorded => Ok(recorded?),
        }
    }

    /// Returns everything that a sign-in writes, all or nothing. The events are logged once the session exists, too.
    fn writes(&self, user: &User, proof: Proof, client: &Client<'_>) -> Vec<Write<Refused>> {
        let (now, info) = (client.request.received_at(), client.request.client());
        let events = proof.events();
        let mut writes = proof.writes;
        let mut add = |item, refused| writes.push(Write::new(item, refused));
        let login = match proof.has_backup_code {
            true => self
                .users
                .record_login_with_backup_code(user, proof.used.as_ref(), now),
            false => self.users.record_login(user, proof.used.as_ref(), now),
        };
        add(login, Refused::Changed);
        for event in events {
            let entry = self.audit.create(user.id, event, Outcome::Success, info);
            add(entry, Refused::Collision);
        }
        let is_new = client.device.is_none() && !client.is_known;
        let new_device = is_new.then_some(Kind::NewDevice);
        let backup_code = proof.has_backup_code.then_some(Kind::BackupCodeUsed);
        for kind in new_device.into_iter().chain(backup_code) {
            let mail = self.outbox.create(kind, user, &Links::none(), info);
            add(mail, Refused::Collision);
        }
        writes
    }

    /// Ends a session, or a device, that may have been created, so that retries during an outage do not push out the
    /// user's real sessions. Best effort: one that is left behind has no tokens and expires.
    async fn discard<T>(&self, id: Id<T>, user_id: UserId) {
        if let Err(error) = self.sessions.revoke(id, user_id).await {
            tracing::warn!(cause = %error, "a session without tokens is left to expire");
        }
    }
}

impl Proof {
    fn events(&self) -> Vec<Event> {
        let backup_code = self.has_backup_code.then_some(Event::BackupCodeUse);
        std::iter::once(self.event).chain(backup_code).collect()
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Changed | Refused::ProofChanged => {
                Self::ServiceUnavailable("the account was changed".into())
            }
            Refused::CodeUsed => Self::TwoFactorUsed,
            Refused::Collision => Self::Internal("a random identifier occurred twice".into()),
        }
    }
}
