use std::time::Duration;

use serde::Serialize;
use shared::StartError;
use shared::config::Environment;
use shared::domain::email_address::EmailAddress;
use shared::domain::id::Id;
use shared::domain::password::Password;
use shared::domain::password_hash::{PasswordHash, PasswordHasher, Verification};
use shared::domain::session::{Lifetime, SessionId};
use shared::domain::user::{Status, User, UserId};
use shared::domain::username::Username;
use shared::error::ApiError;
use shared::http::body::Fields;
use shared::http::representation::{TokensBody, UserBody};
use shared::http::token_issuer::TokenIssuer;
use shared::http::{Request, Response};
use shared::store::audit::{self, Audit, Event, Outcome};
use shared::store::credentials::Credentials;
use shared::store::dynamodb::{DynamoDb, Write};
use shared::store::outbox::{Kind, Outbox};
use shared::store::sessions::Sessions;
use shared::store::users::Users;
use shared::{random, telemetry};

struct Login {
    identifier: Identifier,
    password: Password,
    remember_me: bool,
}

enum Identifier {
    Email(EmailAddress),
    Username(Username),
    /// Can name no account, but takes the time of one that could.
    Impossible,
}

impl Login {
    fn parse(request: &Request) -> Result<Self, ApiError> {
        request.parse(|fields| {
            let identifier = Identifier::parse(fields);
            let password = fields.required("password", Password::parse);
            let remember_me = fields.flag("rememberMe");
            Some(Self {
                identifier: identifier?,
                password: password?,
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
        Username::parse(text).map_or(Self::Impossible, Self::Username)
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
    let verification = telemetry::hashing(|| app.hasher.verify(&login.password, &account.hash))?;

    let is_match = verification != Verification::Mismatch;
    match &account.user {
        Some(user) if is_match && user.is_active() => {
            if app.verification_is_required && !user.email_verified {
                return refuse(app, &account, ApiError::EmailNotVerified, request).await;
            }
            if verification == Verification::MatchOutdated {
                rehash(app, user.id, &login.password, &account.hash).await;
            }
            sign_in(app, user, &account, login.remember_me, request).await
        }
        // Said only after the right password: whoever knows it may know this too.
        Some(user) if is_match && user.status == Status::Disabled => {
            refuse(app, &account, ApiError::AccountDisabled, request).await
        }
        _ => refuse(app, &account, ApiError::InvalidCredentials, request).await,
    }
}

/// What is compared with: a user and a hash, or stand-ins for what there is not.
struct Account {
    id: UserId,
    user: Option<User>,
    hash: PasswordHash,
    /// Whether the request comes from where the account is signed in already.
    device_is_known: bool,
}

impl Account {
    /// The same reads whether the account exists or not, so that time tells nobody (ASVS
    /// 5.0, 6.3.8).
    async fn find(app: &App, identifier: &Identifier, request: &Request) -> Result<Self, ApiError> {
        let now = request.received_at();
        let claimed = match identifier {
            Identifier::Email(email) => app.users.find_id_by_email(email, now).await?,
            Identifier::Username(username) => app.users.find_id_by_username(username, now).await?,
            Identifier::Impossible => {
                app.users.find(Id::new(now, random::bytes()), now).await?;
                None
            }
        };
        let id = claimed.unwrap_or_else(|| Id::new(now, random::bytes()));
        let (user, hash, device_is_known) = tokio::try_join!(
            app.users.find(id, now),
            app.credentials.find_password(id, now),
            app.sessions.knows_device(id, request.origin()),
        )?;
        let hash = hash.unwrap_or_else(|| app.hasher.stand_in(random::bytes()));
        Ok(Self {
            id,
            user,
            hash,
            device_is_known,
        })
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
    let is_known = account
        .user
        .as_ref()
        .is_some_and(|user| user.status != Status::Deleted);
    let (event, outcome, origin) = (Event::Login, Outcome::Failure, request.origin());
    match is_known {
        true => app.audit.record(account.id, event, outcome, origin).await?,
        false => app.audit.record_unknown(event, outcome, origin).await?,
    }
    Err(error)
}

/// The session and the record of the sign-in, at once. Neither stands without the other: where one
/// fails, the other is taken back, and the client has no tokens.
async fn sign_in(
    app: &App,
    user: &User,
    account: &Account,
    is_remembered: bool,
    request: &Request,
) -> Result<Response, ApiError> {
    let (now, origin) = (request.received_at(), request.origin());
    let lifetime = Lifetime {
        is_remembered,
        idle: match is_remembered {
            true => app.remember_me_expiry,
            false => app.refresh_expiry,
        },
        maximum: app.session_max_age,
    };
    let (event, success) = (Event::Login, Outcome::Success);
    let mut record = vec![
        Write::new(app.users.record_login(user.id, now), Refused::NotActive),
        Write::new(
            app.audit.create(user.id, event, success, origin),
            Refused::Collision,
        ),
    ];
    if !account.device_is_known {
        let (kind, language) = (Kind::NewDevice, request.language());
        let mail = app.outbox.create(kind, user, None, language, now);
        record.push(Write::new(mail, Refused::Collision));
    }
    let id = Id::new(now, random::bytes());

    let (session, recorded) = tokio::join!(
        app.sessions
            .start(id, user.id, user.role, &lifetime, origin),
        app.dynamodb.transact(record),
    );
    let session = match (session, recorded) {
        (Ok(session), Ok(())) => session,
        (session, recorded) => {
            discard(app, id, user.id).await;
            if recorded.is_ok() {
                let failure = Outcome::Failure;
                app.audit.record(user.id, event, failure, origin).await?;
            }
            recorded?;
            session?
        }
    };
    audit::log(Some(user.id), event, success, origin);
    let tokens = app.tokens.issue(&session, user.role, now);
    let user = User {
        last_login_at: Some(now),
        ..user.clone()
    };
    let user = UserBody::from(&user);
    Ok(Response::ok("Signed in.", LoggedIn { user, tokens }))
}

/// Why a sign-in was not recorded.
#[derive(Clone, Copy)]
enum Refused {
    /// Deleted or disabled since the record was read: nobody may stay signed in.
    NotActive,
    /// An identifier that is random was there before.
    Collision,
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotActive => Self::InvalidCredentials,
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

/// Replaces a hash of an older kind or cost, now that the password is at hand. A failure keeps
/// nobody out: the next login tries again.
async fn rehash(app: &App, id: UserId, password: &Password, old: &PasswordHash) {
    let new = telemetry::hashing(|| app.hasher.hash(password, random::bytes()));
    if let Err(error) = app.credentials.rehash(id, old, &new).await {
        tracing::error!(cause = %error, "an outdated password hash was kept");
    }
}

/// What this endpoint may touch.
pub struct App {
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
    hasher: PasswordHasher,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let dynamodb = environment.dynamodb();
        let users_table = environment.text("USERS_TABLE");
        let credentials_table = environment.text("CREDENTIALS_TABLE");
        let app = Self {
            users: Users::new(dynamodb.clone(), users_table.clone()),
            credentials: Credentials::new(dynamodb.clone(), credentials_table),
            audit: Audit::new(dynamodb.clone(), users_table.clone()),
            outbox: Outbox::new(users_table),
            dynamodb,
            sessions: environment.sessions(),
            refresh_expiry: environment.refresh_expiry(),
            remember_me_expiry: environment.remember_me_expiry(),
            session_max_age: environment.session_max_age(),
            verification_is_required: environment.boolean("REQUIRE_VERIFIED_EMAIL", false),
            tokens: environment.token_issuer(),
            hasher: environment.password_hasher(),
        };
        environment.finish(app)
    }
}
