use std::time::Instant;

use serde::Serialize;
use shared::StartError;
use shared::config::Environment;
use shared::domain::email_address::EmailAddress;
use shared::domain::id::Id;
use shared::domain::password::Password;
use shared::domain::password_hash::{Cost, PasswordHash, PasswordHasher, Verification};
use shared::domain::session::{Lifetimes, Session};
use shared::domain::timestamp::Timestamp;
use shared::domain::token::TokenPairConfig;
use shared::domain::user::{Status, User, UserId};
use shared::domain::username::Username;
use shared::error::ApiError;
use shared::http::body::Fields;
use shared::http::representation::{TokenIssuer, TokensBody, UserBody};
use shared::http::{Request, Response};
use shared::store::audit::{Audit, Event, Outcome};
use shared::store::credentials::Credentials;
use shared::store::dynamodb::{self, DynamoDb};
use shared::store::redis::{self, Redis};
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
    let login = Login::parse(&request)?;
    let account = Account::find(app, &login.identifier, request.received_at()).await?;

    let started = Instant::now();
    let verification = app
        .hasher
        .verify(&login.password, &account.hash)
        .map_err(|_| ApiError::Internal("a stored password hash is of no known kind".into()))?;
    telemetry::time("HashTime", started.elapsed());

    let is_match = verification != Verification::Mismatch;
    let result = match &account.user {
        Some(user) if is_match && user.is_active() => {
            sign_in(app, &login, user, &account, verification, &request).await
        }
        // Said only after the right password: whoever knows it may know this too.
        Some(user) if is_match && user.status == Status::Disabled => {
            refuse(app, &account, ApiError::AccountDisabled, &request).await
        }
        _ => refuse(app, &account, ApiError::InvalidCredentials, &request).await,
    };
    let outcome = result.as_ref().map_or_else(ApiError::code, |_| "success");
    telemetry::count("Logins", &[("Outcome", outcome)]);
    result
}

/// What is compared with: a user and a hash, or stand-ins for what there is not.
struct Account {
    id: UserId,
    user: Option<User>,
    hash: PasswordHash,
}

impl Account {
    /// The same reads whether the account exists or not, so that time tells nobody (security.md 6).
    async fn find(app: &App, identifier: &Identifier, now: Timestamp) -> Result<Self, ApiError> {
        let claimed = match identifier {
            Identifier::Email(email) => app.users.find_by_email(email, now).await?,
            Identifier::Username(username) => app.users.find_by_username(username, now).await?,
            Identifier::Impossible => {
                app.users.find(Id::new(now, random::bytes()), now).await?;
                None
            }
        };
        let id = claimed.unwrap_or_else(|| Id::new(now, random::bytes()));
        let (user, hash) = tokio::try_join!(
            app.users.find(id, now),
            app.credentials.find_password(id, now)
        )?;
        let hash = hash.unwrap_or_else(|| app.hasher.stand_in(random::bytes()));
        Ok(Self { id, user, hash })
    }
}

/// The failure is recorded in the same time for everybody: with a write under the user, or with one
/// that writes nothing where there is none (or none any more).
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
        false => {
            app.audit
                .record_unknown(account.id, event, outcome, origin)
                .await?
        }
    }
    Err(error)
}

async fn sign_in(
    app: &App,
    login: &Login,
    user: &User,
    account: &Account,
    verification: Verification,
    request: &Request,
) -> Result<Response, ApiError> {
    let (now, origin) = (request.received_at(), request.origin());
    let session_id = Id::new(now, random::bytes());
    let started = tokio::try_join!(
        app.sessions.start(
            session_id,
            user.id,
            user.role,
            login.remember_me,
            &app.lifetimes,
            origin
        ),
        app.users.record_login(user.id, now),
        app.audit
            .record(user.id, Event::Login, Outcome::Success, origin),
        rehash(app, user.id, &login.password, verification, &account.hash),
    );
    let session: Session = match started {
        Ok((session, true, (), ())) => session,
        // Deleted or disabled since it was read: nobody may stay signed in.
        Ok((session, false, (), ())) => {
            app.sessions.end(session.id, user.id).await?;
            return Err(ApiError::InvalidCredentials);
        }
        // One of the stores failed; the session, if it was started, has no tokens and expires.
        Err(error) => return Err(error.into()),
    };
    let tokens = app.tokens.issue(&session, user.role, now);
    let user = User {
        last_login_at: Some(now),
        ..user.clone()
    };
    Ok(Response::ok(
        "Signed in.",
        LoggedIn {
            user: UserBody::from(&user),
            tokens,
        },
    ))
}

/// Replaces a hash of an older kind or cost, now that the password is at hand.
async fn rehash(
    app: &App,
    id: UserId,
    password: &Password,
    verification: Verification,
    old: &PasswordHash,
) -> Result<(), shared::store::Error> {
    if verification != Verification::MatchOutdated {
        return Ok(());
    }
    let new = app.hasher.hash(password, random::bytes());
    app.credentials.rehash(id, old, &new).await
}

/// What this endpoint needs to know.
pub struct Config {
    users_table: String,
    credentials_table: String,
    dynamodb: dynamodb::Config,
    redis: redis::Config,
    tokens: TokenPairConfig,
    lifetimes: Lifetimes,
    hash_cost: Cost,
}

impl Config {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let config = Self {
            users_table: environment.text("USERS_TABLE"),
            credentials_table: environment.text("CREDENTIALS_TABLE"),
            dynamodb: environment.dynamodb(),
            redis: environment.redis(),
            tokens: environment.token_pair(),
            lifetimes: environment.session_lifetimes(),
            hash_cost: environment.hash_cost(),
        };
        environment.finish(config)
    }
}

/// What this endpoint may touch.
pub struct App {
    users: Users,
    credentials: Credentials,
    audit: Audit,
    sessions: Sessions,
    lifetimes: Lifetimes,
    tokens: TokenIssuer,
    hasher: PasswordHasher,
}

impl App {
    pub fn new(config: Config) -> Result<Self, StartError> {
        let dynamodb = DynamoDb::new(config.dynamodb);
        Ok(Self {
            users: Users::new(dynamodb.clone(), config.users_table.clone()),
            credentials: Credentials::new(dynamodb.clone(), config.credentials_table),
            audit: Audit::new(dynamodb, config.users_table),
            sessions: Sessions::new(Redis::new(&config.redis)?),
            lifetimes: config.lifetimes,
            tokens: TokenIssuer::new(config.tokens),
            hasher: PasswordHasher::new(config.hash_cost).map_err(StartError::new)?,
        })
    }
}
