//! The session and the record of a sign-in.

use shared::api::login::LoginAnswer;
use shared::domain::device_token::Device;
use shared::domain::id::Id;
use shared::domain::password_hash::{PasswordHash, Verification};
use shared::domain::session::{Lifetime, Session};
use shared::domain::user::{Admitted, NotAdmitted, User, UserId};
use shared::error::ApiError;
use shared::http::second_factor::Factor;
use shared::http::{Request, Response};
use shared::store::audit::{self, Event, Outcome};
use shared::store::dynamodb::{TransactionError, Write};
use shared::store::outbox::{Kind, Links};
use shared::{clock, random, telemetry};

use crate::account::Account;
use crate::handler::{App, Login};

/// What was right. It must still be so when the sign-in is recorded.
pub struct Proof<'a> {
    /// The hash that the password was compared with, or what took its place.
    pub hashes: [PasswordHash; 2],
    pub factor: Option<&'a Factor>,
}

impl Proof<'_> {
    fn uses_backup_code(&self) -> bool {
        self.factor.is_some_and(Factor::is_backup_code)
    }
}

/// The session and, at once, the record of the sign-in, which is refused if anything that allows it has
/// changed: then the session is ended again. A new password, a second factor and a deletion begin a new epoch
/// with their own write, so that a session whose record came before it is over.
pub async fn sign_in(
    app: &App,
    admitted: Admitted<'_>,
    account: &Account,
    proof: Proof<'_>,
    login: &Login,
    request: &Request,
) -> Result<Response, ApiError> {
    let (now, origin, user) = (request.received_at(), request.origin(), admitted.user());
    let is_remembered = login.remember_me;
    let lifetime = Lifetime {
        is_remembered,
        idle: match is_remembered {
            true => app.remember_me_expiry,
            false => app.refresh_expiry,
        },
        maximum: app.session_max_age,
    };
    let id = Id::new(now, random::bytes());
    let device = account.device.unwrap_or_else(|| Device {
        id: Id::new(now, random::bytes()),
        user_id: user.id,
    });
    // A backup code ends all other sessions: this one is of the epoch that begins with it.
    let epoch = match proof.uses_backup_code() {
        true => user.session_epoch.next(),
        false => user.session_epoch,
    };
    let start = async {
        let sessions = &app.sessions;
        let started = sessions.start(id, admitted, &lifetime, epoch, device.id, origin);
        Ok::<_, ApiError>(started.await?)
    };
    let record = async {
        let writes = record(app, user, account, &proof, request);
        let forgive = account.attempt.forgive(request);
        let give_back = app.guard.give_back_to_owner(request);
        let recorded = app.dynamodb.transact(writes);
        let (recorded, (), ()) = tokio::join!(recorded, forgive, give_back);
        match recorded {
            Err(TransactionError::Refused(Refused::Changed)) => {
                Err(changed_meanwhile(app, user.id, request).await?)
            }
            recorded => Ok(recorded?),
        }
    };
    let started = match proof.factor {
        None => match tokio::join!(start, record) {
            (Err(error), Ok(())) => {
                // It is recorded, and there is no session: the trail must not leave it at that.
                let failure = Outcome::Failure;
                let recorded = app.audit.record(user.id, Event::Login, failure, origin);
                clock::aftermath("the record of a failed sign-in", recorded).await;
                Err(error)
            }
            (started, recorded) => recorded.and(started),
        },
        // A code is used up by the record: not without the session.
        Some(_) => match start.await {
            Ok(session) => record.await.map(|()| session),
            Err(error) => Err(error),
        },
    };
    let session = match started {
        Ok(session) => session,
        Err(error) => {
            discard(app, id, user.id).await;
            if account.device.is_none() {
                discard(app, device.id, user.id).await;
            }
            return Err(error);
        }
    };
    audit::log(Some(user.id), Event::Login, Outcome::Success, origin);
    if proof.uses_backup_code() {
        audit::log(
            Some(user.id),
            Event::BackupCodeUse,
            Outcome::Success,
            origin,
        );
        let others = app.sessions.revoke_others(id, user.id);
        clock::aftermath("ending the other sessions", others).await;
    }
    Ok(signed_in(app, user, device, &session, login, request))
}

/// Everything that a sign-in leaves behind, or nothing.
fn record(
    app: &App,
    user: &User,
    account: &Account,
    proof: &Proof<'_>,
    request: &Request,
) -> Vec<Write<Refused>> {
    let (now, origin, language) = (request.received_at(), request.origin(), request.language());
    let mut writes = Vec::new();
    let mut add = |item, refused| writes.push(Write::new(item, refused));
    // First what tells most: a code that was used meanwhile.
    if let Some(factor) = proof.factor {
        let used_up = factor.write(&app.second_factor.store, request);
        add(used_up, Refused::FactorUsed);
    }
    let login = match proof.uses_backup_code() {
        true => app.users.record_login_with_backup_code(user, now),
        false => app.users.record_login(user, now),
    };
    add(login, Refused::Changed);
    let password = app.credentials.check_password(user.id, &proof.hashes);
    add(password, Refused::PasswordChanged);

    let mut events = vec![Event::Login];
    let mut mails = Vec::new();
    if account.device.is_none() && !account.origin_is_known {
        mails.push(Kind::NewDevice);
    }
    if proof.uses_backup_code() {
        events.push(Event::BackupCodeUse);
        mails.push(Kind::BackupCodeUsed);
    }
    for event in events {
        let entry = app.audit.create(user.id, event, Outcome::Success, origin);
        add(entry, Refused::Collision);
    }
    for kind in mails {
        let mail = app
            .outbox
            .create(kind, user, &Links::none(), language, origin);
        add(mail, Refused::Collision);
    }
    writes
}

fn signed_in(
    app: &App,
    user: &User,
    device: Device,
    session: &Session,
    login: &Login,
    request: &Request,
) -> Response {
    let now = request.received_at();
    let tokens = app.tokens.issue(session, user.role, login.transport, now);
    let tokens = tokens.with_device_token(app.device_token_issuer.issue(device, now));
    let user = User {
        last_login_at: Some(now),
        ..user.clone()
    };
    let body = LoginAnswer {
        user: (&user).into(),
        tokens: tokens.body,
    };
    Response::ok("Signed in.", body).with_cookies(tokens.cookies)
}

/// Why a sign-in was not recorded.
#[derive(Clone, Copy)]
enum Refused {
    /// Deleted, disabled, a new password, or the second factor turned on or off, since the record was read.
    Changed,
    /// The password is another one since it was compared.
    PasswordChanged,
    /// The code has been used meanwhile.
    FactorUsed,
    /// An identifier that is random was there before.
    Collision,
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Changed => Self::ServiceUnavailable("the account was changed".into()),
            Refused::PasswordChanged => Self::InvalidCredentials,
            Refused::FactorUsed => Self::TwoFactorUsed,
            Refused::Collision => Self::Internal("a random identifier occurred twice".into()),
        }
    }
}

/// Ends a session, or a device, that was perhaps made, so that retries during an outage do not push a user's
/// real sessions out. Best effort: what is left behind has no tokens and expires.
async fn discard<T>(app: &App, id: Id<T>, user_id: UserId) {
    if let Err(error) = app.sessions.revoke(id, user_id).await {
        tracing::warn!(cause = %error, "a session without tokens is left to expire");
    }
}

/// What is said of an account that has changed while it was signed in to.
async fn changed_meanwhile(app: &App, id: UserId, request: &Request) -> Result<ApiError, ApiError> {
    let user = app.users.find(id, request.received_at()).await?;
    let admitted = user
        .as_ref()
        .map(|user| user.admit(app.verification_is_required));
    Ok(match admitted {
        None | Some(Err(NotAdmitted::Deleted)) => ApiError::InvalidCredentials,
        Some(Err(NotAdmitted::Disabled)) => ApiError::AccountDisabled,
        _ => Refused::Changed.into(),
    })
}

/// Replaces a hash of an older kind or cost, now that the password is at hand. A failure keeps nobody
/// out: the next login tries again. Returns what may be stored now.
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
        // Another login did the same meanwhile, or the password is another one now.
        Ok(false) => {
            let stored = app
                .credentials
                .find_password(id, request.received_at())
                .await?;
            let stored = stored.ok_or(ApiError::InvalidCredentials)?;
            match telemetry::hashing(|| app.hasher.verify(password, &stored))? {
                Verification::Mismatch => Err(ApiError::InvalidCredentials),
                _ => Ok([stored.clone(), stored]),
            }
        }
    }
}
