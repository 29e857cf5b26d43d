use std::time::Duration;

use serde::Serialize;
use shared::StartError;
use shared::config::Environment;
use shared::domain::device_token::{Device, DeviceTokenIssuer, DeviceTokenVerifier};
use shared::domain::email_address::EmailAddress;
use shared::domain::id::Id;
use shared::domain::password::Password;
use shared::domain::password_hash::{PasswordHash, PasswordHasher, Verification};
use shared::domain::session::{Lifetime, SessionId};
use shared::domain::user::{Admitted, NotAdmitted, Status, User, UserId};
use shared::domain::username::Username;
use shared::error::ApiError;
use shared::http::body::Fields;
use shared::http::cookie_mode::Transport;
use shared::http::guard::{Endpoint, Guard};
use shared::http::lockout::{self, Attempt, Lockout};
use shared::http::password_check::record_failure;
use shared::http::representation::{TokensBody, UserBody};
use shared::http::second_factor::{Code, Factor, SecondFactor};
use shared::http::token_issuer::{TokenIssuer, Tokens};
use shared::http::{Request, Response, device};
use shared::store::audit::{self, Audit, Event, Outcome};
use shared::store::credentials::Credentials;
use shared::store::dynamodb::{DynamoDb, TransactionError, Write};
use shared::store::outbox::{Kind, Outbox};
use shared::store::rate_limiter::TextHash;
use shared::store::sessions::Sessions;
use shared::store::users::Users;
use shared::{clock, random, telemetry};

struct Login {
    identifier: Identifier,
    password: Password,
    code: Option<Code>,
    remember_me: bool,
}

enum Identifier {
    Email(EmailAddress),
    Username(Username),
    /// Can name no account, but takes the time of one that could.
    Impossible(String),
}

impl Login {
    fn parse(request: &Request) -> Result<Self, ApiError> {
        request.parse(|fields| {
            let identifier = Identifier::parse(fields);
            let password = fields.required("password", Password::parse);
            let code = fields.optional("twoFactorToken", Code::parse);
            let remember_me = fields.flag("rememberMe");
            Some(Self {
                identifier: identifier?,
                password: password?,
                code: code?,
                remember_me: remember_me?,
            })
        })
    }
}

impl Identifier {
    fn parse(fields: &mut Fields) -> Option<Self> {
        // All three are taken before any is judged: one that is left would count as unknown.
        let email = fields.optional("email", |text| EmailAddress::parse(text).map(Self::Email));
        let username = fields.optional("username", |text| Ok::<_, &str>(Self::username(text)));
        let identifier = fields.optional("identifier", |text| Ok::<_, &str>(Self::either(text)));
        let mut given = [email?, username?, identifier?].into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(identifier), None) => Some(identifier),
            _ => {
                fields.refuse(
                    "identifier",
                    "exactly one of email, username and identifier is required",
                );
                None
            }
        }
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

#[derive(Serialize)]
struct LoggedIn {
    user: UserBody,
    #[serde(flatten)]
    tokens: TokensBody,
}

pub async fn login(app: &App, request: Request) -> Result<Response, ApiError> {
    let result = exchange(app, &request).await;
    let outcome = result.as_ref().map_or_else(ApiError::code, |_| "success");
    telemetry::count("Logins", &[("Outcome", outcome)]);
    result
}

async fn exchange(app: &App, request: &Request) -> Result<Response, ApiError> {
    let login = Login::parse(request)?;
    let account = Account::find(app, &login.identifier, request).await?;
    let verification = telemetry::hashing(|| app.hasher.verify(&login.password, &account.hash));
    let is_wrong = matches!(verification, Ok(Verification::Mismatch));
    let result = match verification {
        Ok(verification) => judge(app, &login, &account, verification, request).await,
        Err(unknown_hash) => Err(unknown_hash.into()),
    };
    // What was no wrong password does not stay counted as one; a deleted account's right one does, as
    // it is answered like a wrong one.
    if !is_wrong && !matches!(result, Ok(_) | Err(ApiError::InvalidCredentials)) {
        app.lockout.take_back(&account.attempt, request).await;
    }
    result
}

/// What is said of the account is said only after the right password: whoever knows it may know this
/// too.
async fn judge(
    app: &App,
    login: &Login,
    account: &Account,
    verification: Verification,
    request: &Request,
) -> Result<Response, ApiError> {
    let is_match = verification != Verification::Mismatch;
    let Some(user) = account.user.as_ref().filter(|_| is_match) else {
        return refuse(app, account, ApiError::InvalidCredentials, request).await;
    };
    let admitted = match user.admit(app.verification_is_required) {
        Ok(admitted) => admitted,
        Err(NotAdmitted::Deleted) => {
            return refuse(app, account, ApiError::InvalidCredentials, request).await;
        }
        Err(NotAdmitted::Disabled) => {
            return refuse(app, account, ApiError::AccountDisabled, request).await;
        }
        Err(NotAdmitted::Unverified) => {
            return refuse(app, account, ApiError::EmailNotVerified, request).await;
        }
    };
    let factor = match (user.two_factor_enabled, &login.code) {
        (false, _) => None,
        (true, None) => {
            return refuse(app, account, ApiError::TwoFactorRequired, request).await;
        }
        (true, Some(code)) => {
            let checked = app.second_factor.check(user, code, Event::Login, request);
            Some(checked.await?)
        }
    };
    let hashes = match verification {
        Verification::MatchOutdated => rehash(app, user.id, login, account, request).await,
        _ => Ok([account.hash.clone(), account.hash.clone()]),
    };
    let result = match hashes {
        Ok(hashes) => {
            let proof = Proof {
                hashes,
                factor: factor.as_ref(),
            };
            sign_in(app, admitted, account, proof, login, request).await
        }
        Err(error) => Err(error),
    };
    if let Some(factor) = &factor {
        app.second_factor.settle(factor, &result, request).await;
    }
    result
}

/// What is compared with: a user and a hash, or stand-ins for what there is not.
struct Account {
    user: Option<User>,
    hash: PasswordHash,
    attempt: Attempt,
    /// The device that the account has signed in from before, by its token.
    device: Option<Device>,
    /// Whether the request comes from where the account is signed in already.
    origin_is_known: bool,
}

impl Account {
    /// The same work whether the account exists or not, so that time tells nobody (ASVS
    /// 5.0, 6.3.8).
    async fn find(app: &App, identifier: &Identifier, request: &Request) -> Result<Self, ApiError> {
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
        let (user, hash, origin_is_known, attempt) = tokio::join!(
            app.users.find(id, now),
            app.credentials.find_password(id, now),
            app.sessions.knows_origin(id, request.origin()),
            app.lockout.attempt(&account, device, request),
        );
        let attempt = attempt?;
        let (user, hash, origin_is_known) = match (user, hash, origin_is_known) {
            (Ok(user), Ok(hash), Ok(is_known)) => (user, hash, is_known),
            (user, hash, is_known) => {
                app.lockout.take_back(&attempt, request).await;
                user?;
                hash?;
                is_known?;
                unreachable!("one of the three has failed")
            }
        };
        let mut account_found = Self {
            user,
            hash: hash.unwrap_or_else(|| app.hasher.stand_in(random::bytes())),
            attempt,
            device,
            origin_is_known,
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

/// The failure is recorded in the same time for everybody: with a write under the user, or with a
/// stand-in where there is none (or none any more).
async fn refuse(
    app: &App,
    account: &Account,
    error: ApiError,
    request: &Request,
) -> Result<Response, ApiError> {
    let known = account.user.as_ref();
    let known = known.filter(|user| user.status != Status::Deleted);
    let id = known.map(|user| user.id);
    let locks = account.attempt.locks() && matches!(error, ApiError::InvalidCredentials);
    record_failure(&app.audit, id, Event::Login, locks, request).await?;
    Err(error)
}

/// What was right. It must still be so when the sign-in is recorded.
struct Proof<'a> {
    /// The hash that the password was compared with, or what took its place.
    hashes: [PasswordHash; 2],
    factor: Option<&'a Factor>,
}

/// The session, and then the record of the sign-in, which is refused if anything that allows it has
/// changed: a new password, a second factor and a deletion end all sessions after their own write, and
/// so meet this one either here or there. Without the record the session is ended again.
async fn sign_in(
    app: &App,
    admitted: Admitted<'_>,
    account: &Account,
    Proof { hashes, factor }: Proof<'_>,
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
    let (event, success) = (Event::Login, Outcome::Success);
    let uses_backup_code = factor.is_some_and(Factor::is_backup_code);
    let login = match uses_backup_code {
        true => app.users.record_login_with_backup_code(user.id, now),
        false => app.users.record_login(user, now),
    };
    // First what tells most: a code that was used meanwhile.
    let used_up = factor.map(|factor| factor.write(&app.second_factor.store, request));
    let used_up = used_up.map(|item| Write::new(item, Refused::FactorUsed));
    let mut record: Vec<_> = used_up.into_iter().collect();
    record.push(Write::new(login, Refused::Changed));
    let password = app.credentials.check_password(user.id, &hashes);
    record.push(Write::new(password, Refused::PasswordChanged));
    let entry = app.audit.create(user.id, event, success, origin);
    record.push(Write::new(entry, Refused::Collision));
    if account.device.is_none() && !account.origin_is_known {
        let (kind, language) = (Kind::NewDevice, request.language());
        let mail = app.outbox.create(kind, user, None, language, now);
        record.push(Write::new(mail, Refused::Collision));
    }
    if uses_backup_code {
        let (kind, language) = (Kind::BackupCodeUsed, request.language());
        let mail = app.outbox.create(kind, user, None, language, now);
        record.push(Write::new(mail, Refused::Collision));
        let (event, audit) = (Event::BackupCodeUse, &app.audit);
        let entry = audit.create(user.id, event, success, origin);
        record.push(Write::new(entry, Refused::Collision));
    }
    let id = Id::new(now, random::bytes());

    let session = app.sessions.start(id, admitted, &lifetime, origin).await?;
    let (recorded, ()) = tokio::join!(
        app.dynamodb.transact(record),
        app.lockout.forgive(&account.attempt, request),
    );
    if let Err(refusal) = recorded {
        discard(app, id, user.id).await;
        return Err(match refusal {
            TransactionError::Refused(Refused::Changed) => {
                changed_meanwhile(app, user.id, request).await?
            }
            other => other.into(),
        });
    }
    audit::log(Some(user.id), event, success, origin);
    if uses_backup_code {
        audit::log(Some(user.id), Event::BackupCodeUse, success, origin);
        let others = app.sessions.revoke_others(id, user.id);
        clock::aftermath("ending the other sessions", others).await;
    }
    let transport = Transport::asked_for(request);
    let tokens = app.tokens.issue(&session, user.role, transport, now);
    let device = account.device.unwrap_or_else(|| Device {
        id: Id::new(now, random::bytes()),
        user_id: user.id,
    });
    let Tokens { body, cookies, .. } =
        tokens.with_device_token(app.device_token_issuer.issue(device, now));
    let user = User {
        last_login_at: Some(now),
        ..user.clone()
    };
    let user = UserBody::from(&user);
    let tokens = body;
    Ok(Response::ok("Signed in.", LoggedIn { user, tokens }).with_cookies(cookies))
}

/// Why a sign-in was not recorded.
#[derive(Clone, Copy)]
enum Refused {
    /// Deleted, disabled, or the second factor turned on or off, since the record was read.
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
            Refused::FactorUsed => Self::TwoFactorInvalid,
            Refused::Collision => Self::Internal("a random identifier occurred twice".into()),
        }
    }
}

/// Ends a session that was perhaps started, so that retries during an outage do not push a user's
/// real sessions out. Best effort: what is left behind has no tokens and expires.
async fn discard(app: &App, id: SessionId, user_id: UserId) {
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
async fn rehash(
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

/// What this endpoint may touch.
pub struct App {
    pub guard: Guard,
    dynamodb: DynamoDb,
    users: Users,
    credentials: Credentials,
    audit: Audit,
    outbox: Outbox,
    sessions: Sessions,
    refresh_expiry: Duration,
    remember_me_expiry: Duration,
    session_max_age: Duration,
    verification_is_required: bool,
    tokens: TokenIssuer,
    device_token_issuer: DeviceTokenIssuer,
    device_tokens: DeviceTokenVerifier,
    lockout: Lockout,
    second_factor: SecondFactor,
    hasher: PasswordHasher,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let dynamodb = environment.dynamodb();
        let users_table = environment.text("USERS_TABLE");
        let credentials_table = environment.text("CREDENTIALS_TABLE");
        let audit = Audit::new(dynamodb.clone(), users_table.clone());
        let second_factor =
            environment.second_factor(dynamodb.clone(), credentials_table.clone(), audit.clone());
        let endpoint = Endpoint::per_client("LOGIN", "5/15m");
        let app = Self {
            guard: Guard::for_guests(&mut environment, endpoint),
            users: Users::new(dynamodb.clone(), users_table.clone()),
            credentials: Credentials::new(dynamodb.clone(), credentials_table),
            audit,
            outbox: Outbox::new(users_table),
            dynamodb,
            sessions: environment.sessions(),
            refresh_expiry: environment.refresh_expiry(),
            remember_me_expiry: environment.remember_me_expiry(),
            session_max_age: environment.session_max_age(),
            verification_is_required: environment.boolean("REQUIRE_VERIFIED_EMAIL", false),
            tokens: environment.token_issuer(),
            device_token_issuer: environment.device_token_issuer(),
            device_tokens: environment.device_token_verifier(),
            lockout: environment.lockout(),
            second_factor,
            hasher: environment.password_hasher(),
        };
        environment.finish(app)
    }
}
