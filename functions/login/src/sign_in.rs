//! A sign-in's session and its record.
//!
//! The session is in Redis and the record in DynamoDB; either write can fail, and the account can change between the
//! check and the writes. Without a code both are written at the same time. With a code the session is started first,
//! because the record uses up the code, and a code must not be lost without a session.
//!
//! | session started | record written | what happens |
//! |---|---|---|
//! | yes | yes | the client gets the session's tokens |
//! | yes | refused: the account was deleted or disabled | the session is ended; `invalid_credentials` or `account_disabled` |
//! | yes | refused: the password was changed | the session is ended; `invalid_credentials` |
//! | yes | refused: another request used the code | the session is ended; `two_factor_invalid` |
//! | yes | refused: another change that ends sessions | the session is ended; `service_unavailable` |
//! | yes | no answer | the session is ended; `service_unavailable` |
//! | no, or no token for it | yes, without a code | a failure is added to the audit log; `service_unavailable` |
//! | no, or no token for it | not attempted, with a code | `service_unavailable`; the code still works |
//!
//! A change of the account *after* the record is no race: it increments `session_epoch` in its own transaction, so the
//! user's record rejects the session.

use shared::api::login::LoginAnswer;
use shared::auth::token_issuer::Tokens;
use shared::auth::two_factor::VerifiedCode;
use shared::domain::client_info::ClientInfo;
use shared::domain::device_token::Device;
use shared::domain::id::Id;
use shared::domain::password_hash::{PasswordHash, Verification};
use shared::domain::session::{AuthenticationMethods, Lifetime};
use shared::domain::timestamp::Timestamp;
use shared::domain::user::{SignInAllowed, SignInRefused, User, UserId};
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::serve::RequestLimits;
use shared::store::audit::{self, Event, Outcome};
use shared::store::dynamodb::{TransactionError, Write};
use shared::store::outbox::{Kind, Links};
use shared::store::sessions::NewSession;
use shared::{random, telemetry, timing};

use crate::account::Account;
use crate::app::App;
use crate::request::Login;

/// What the client has proven. It must still hold when the sign-in is recorded.
pub struct Proof<'a> {
    /// The hash that the password was compared with, and the hash that may have replaced it.
    pub hashes: [PasswordHash; 2],
    pub code: Option<&'a VerifiedCode>,
}

impl Proof<'_> {
    fn uses_backup_code(&self) -> bool {
        self.code.is_some_and(VerifiedCode::is_backup_code)
    }
}

/// Starts the session and records the sign-in; the table above lists the outcomes.
pub async fn sign_in(
    app: &App,
    allowed: SignInAllowed<'_>,
    account: &Account,
    proof: Proof<'_>,
    login: &Login,
    request: &Request,
    limits: &RequestLimits,
) -> Result<Response, ApiError> {
    let (now, client, user) = (request.received_at(), request.client(), allowed.user());
    let session_id = Id::new(now, random::bytes());
    let device = account.device.unwrap_or_else(|| Device {
        id: Id::new(now, random::bytes()),
        user_id: user.id,
    });
    // A backup code ends all other sessions by starting a new epoch: this session belongs to the new one.
    let epoch = match proof.uses_backup_code() {
        true => user.session_epoch.next(),
        false => user.session_epoch,
    };
    let new = NewSession {
        id: session_id,
        methods: match proof.code {
            Some(_) => AuthenticationMethods::PASSWORD_AND_CODE,
            None => AuthenticationMethods::PASSWORD,
        },
        lifetime: lifetime(app, login),
        epoch,
        device: device.id,
    };
    let start = async {
        let session = app.sessions.start(&new, allowed, client).await?;
        let issued = app
            .tokens
            .issue(&session, user.role, &user.claims, login.delivery, now);
        Ok::<_, ApiError>(issued.await?)
    };
    let record = record(app, user, account, &proof, client, limits);
    let started = match proof.code {
        None => match tokio::join!(start, record) {
            (Err(error), Ok(())) => {
                let failure = Outcome::Failure;
                let recorded = app.audit.record(user.id, Event::Login, failure, client);
                timing::best_effort("the record of a failed sign-in", recorded).await;
                Err(error)
            }
            (started, recorded) => recorded.and(started),
        },
        Some(_) => match start.await {
            Ok(tokens) => record.await.map(|()| tokens),
            Err(error) => Err(error),
        },
    };
    let tokens = match started {
        Ok(tokens) => tokens,
        Err(error) => {
            discard(app, session_id, user.id).await;
            if account.device.is_none() {
                discard(app, device.id, user.id).await;
            }
            return Err(error);
        }
    };
    for event in events(&proof) {
        audit::log(Some(user.id), event, Outcome::Success, client);
    }
    if proof.uses_backup_code() {
        let others = app.sessions.revoke_others(session_id, user.id);
        timing::best_effort("ending the other sessions", others).await;
    }
    let tokens = tokens.with_device_token(app.device_token_issuer.issue(device, now));
    let leaked = app.leaked_passwords.as_ref();
    let is_leaked = leaked.is_some_and(|leaked| leaked.contains(login.password.as_bytes()));
    Ok(signed_in(user, tokens, is_leaked, now))
}

fn lifetime(app: &App, login: &Login) -> Lifetime {
    Lifetime {
        is_remembered: login.remember_me,
        idle: match login.remember_me {
            true => app.remember_me_expiry,
            false => app.refresh_expiry,
        },
        maximum: app.session_max_age,
    }
}

fn events(proof: &Proof<'_>) -> Vec<Event> {
    let backup_code = proof.uses_backup_code().then_some(Event::BackupCodeUse);
    std::iter::once(Event::Login).chain(backup_code).collect()
}

/// Writes the record; at the same time, clears earlier failures.
async fn record(
    app: &App,
    user: &User,
    account: &Account,
    proof: &Proof<'_>,
    client: &ClientInfo,
    limits: &RequestLimits,
) -> Result<(), ApiError> {
    let writes = writes(app, user, account, proof, client);
    let (recorded, (), ()) = tokio::join!(
        app.dynamodb.transact(writes),
        account.attempt.forgive(client),
        limits.take_back_of_owner(),
    );
    match recorded {
        Err(TransactionError::Refused(Refused::Changed)) => {
            Err(changed_meanwhile(app, user.id, client).await?)
        }
        recorded => Ok(recorded?),
    }
}

/// Returns everything that a sign-in writes, all or nothing. The events are logged once the session exists, too.
fn writes(
    app: &App,
    user: &User,
    account: &Account,
    proof: &Proof<'_>,
    client: &ClientInfo,
) -> Vec<Write<Refused>> {
    let now = client.received_at;
    let mut writes = Vec::new();
    let mut add = |item, refused| writes.push(Write::new(item, refused));
    // If several conditions fail, the first one is reported: the most informative refusal comes first.
    if let Some(code) = proof.code {
        add(code.write(&app.two_factor.store, client), Refused::CodeUsed);
    }
    let login = match proof.uses_backup_code() {
        true => app.users.record_login_with_backup_code(user, now),
        false => app.users.record_login(user, now),
    };
    add(login, Refused::Changed);
    let password = app.credentials.check_password(user.id, &proof.hashes);
    add(password, Refused::PasswordChanged);
    for event in events(proof) {
        let entry = app.audit.create(user.id, event, Outcome::Success, client);
        add(entry, Refused::Collision);
    }
    let is_new = account.device.is_none() && !account.client_is_known;
    let new_device = is_new.then_some(Kind::NewDevice);
    let backup_code = proof.uses_backup_code().then_some(Kind::BackupCodeUsed);
    for kind in new_device.into_iter().chain(backup_code) {
        let mail = app.outbox.create(kind, user, &Links::none(), client);
        add(mail, Refused::Collision);
    }
    writes
}

fn signed_in(user: &User, tokens: Tokens, is_leaked: bool, now: Timestamp) -> Response {
    let user = User {
        last_login_at: Some(now),
        ..user.clone()
    };
    let body = LoginAnswer {
        user: (&user).into(),
        tokens: tokens.body,
        password_leaked: is_leaked.then_some(true),
    };
    Response::ok("Signed in.", body).with_cookies(tokens.cookies)
}

/// Why a sign-in was not recorded.
#[derive(Clone, Copy)]
enum Refused {
    /// Since the record was read, the account was deleted or disabled, its password was changed, or the second factor
    /// was turned on or off.
    Changed,
    /// The password has changed since it was compared.
    PasswordChanged,
    /// Another request has used the code.
    CodeUsed,
    /// A random identifier is already taken.
    Collision,
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Changed => Self::ServiceUnavailable("the account was changed".into()),
            Refused::PasswordChanged => Self::InvalidCredentials,
            Refused::CodeUsed => Self::TwoFactorUsed,
            Refused::Collision => Self::Internal("a random identifier occurred twice".into()),
        }
    }
}

/// Ends a session, or a device, that may have been created, so that retries during an outage do not push out the user's
/// real sessions. Best effort: one that is left behind has no tokens and expires.
async fn discard<T>(app: &App, id: Id<T>, user_id: UserId) {
    if let Err(error) = app.sessions.revoke(id, user_id).await {
        tracing::warn!(cause = %error, "a session without tokens is left to expire");
    }
}

/// Returns the error for an account that has changed during the sign-in.
async fn changed_meanwhile(
    app: &App,
    id: UserId,
    client: &ClientInfo,
) -> Result<ApiError, ApiError> {
    let user = app.users.find(id, client.received_at).await?;
    let allowed = user
        .as_ref()
        .map(|user| user.check_sign_in(app.verification_is_required));
    Ok(match allowed {
        None | Some(Err(SignInRefused::Deleted)) => ApiError::InvalidCredentials,
        Some(Err(SignInRefused::Disabled)) => ApiError::AccountDisabled,
        _ => Refused::Changed.into(),
    })
}

/// Replaces a hash of an older kind or cost, while the password is known. A failure does not keep the user out: the
/// next login tries again. Returns the hashes that may be stored now.
pub async fn rehash(
    app: &App,
    id: UserId,
    login: &Login,
    account: &Account,
    request: &Request,
) -> Result<[PasswordHash; 2], ApiError> {
    let (old, password) = (&account.hash, &login.password);
    let new = telemetry::hashing(|| app.hasher.hash(password, random::bytes()));
    match app.credentials.rehash(id, old, &new).await {
        Ok(true) => Ok([new.clone(), new]),
        Err(error) => {
            tracing::error!(cause = %error, "an outdated password hash was kept");
            Ok([old.clone(), new])
        }
        // Another login has replaced the hash, or the password has changed.
        Ok(false) => {
            let now = request.received_at();
            let stored = app.credentials.find_password(id, now).await?;
            let stored = stored.ok_or(ApiError::InvalidCredentials)?;
            match telemetry::hashing(|| app.hasher.verify(password, &stored))? {
                Verification::Mismatch => Err(ApiError::InvalidCredentials),
                _ => Ok([stored.clone(), stored]),
            }
        }
    }
}
