use std::time::{Duration, Instant};

use shared::StartError;
use shared::config::Environment;
use shared::domain::password::Password;
use shared::domain::password_hash::{Cost, PasswordHasher, Verification};
use shared::domain::token::{AccessTokens, TokenConfig};
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::authentication::Authenticator;
use shared::http::{Request, Response};
use shared::store::audit::{self, Audit, Event, Outcome};
use shared::store::credentials::Credentials;
use shared::store::dynamodb::{self, DynamoDb, TransactionError, Write};
use shared::store::outbox::{Kind, Outbox};
use shared::store::redis::{self, Redis};
use shared::store::sessions::Sessions;
use shared::store::users::Users;
use shared::telemetry;

/// From the deletion to the purge; until then address and username stay taken.
const PURGE_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Tries at a deletion that meets a change of the same record.
const TRIES: u32 = 3;

/// The record has changed since it was read.
#[derive(Clone, Copy)]
struct Stale;

pub async fn delete_account(app: &App, request: Request) -> Result<Response, ApiError> {
    let caller = app.authenticator.required(&request).await?;
    let password = request.parse(|fields| fields.required("password", Password::parse))?;
    verify(app, &caller.user, &password, &request).await?;

    let mut user = caller.user;
    let mut tries = 1..=TRIES;
    loop {
        match delete(app, &user, &request).await {
            Ok(()) => break,
            Err(TransactionError::Store(error)) => return Err(error.into()),
            // The record changed meanwhile, perhaps the username: once more, with what it is now.
            Err(TransactionError::Refused(Stale)) => {
                tries.next().ok_or_else(|| {
                    ApiError::ServiceUnavailable("the record kept changing".into())
                })?;
                let current = app.users.find(user.id, request.received_at()).await?;
                user = current
                    .filter(User::is_active)
                    .ok_or(ApiError::TokenRevoked)?;
            }
        }
    }
    audit::log(
        Some(user.id),
        Event::AccountDelete,
        Outcome::Success,
        request.origin(),
    );
    // From here on no session of the account is accepted anywhere, because the record says so;
    // a failure leaves keys behind that are worth nothing and expire.
    if let Err(error) = app.authenticator.sessions.end_all(user.id).await {
        tracing::error!(cause = %error, "the sessions of a deleted account were left to expire");
    }
    Ok(Response::done("The account was deleted."))
}

async fn verify(
    app: &App,
    user: &User,
    password: &Password,
    request: &Request,
) -> Result<(), ApiError> {
    let stored = app
        .credentials
        .find_password(user.id, request.received_at())
        .await?;
    let stored =
        stored.ok_or_else(|| ApiError::Internal("an account without a password".into()))?;
    let started = Instant::now();
    let verification = app
        .hasher
        .verify(password, &stored)
        .map_err(|_| ApiError::Internal("a stored password hash is of no known kind".into()))?;
    telemetry::time("HashTime", started.elapsed());
    if verification == Verification::Mismatch {
        app.audit
            .record(
                user.id,
                Event::AccountDelete,
                Outcome::Failure,
                request.origin(),
            )
            .await?;
        return Err(ApiError::InvalidCredentials);
    }
    Ok(())
}

/// The account with all that belongs to it, or nothing: the status ends sign-in at once, the `ttl`
/// lets the items go, the claims too, only when the account is purged.
async fn delete(app: &App, user: &User, request: &Request) -> Result<(), TransactionError<Stale>> {
    let now = request.received_at();
    let purge_at = now.plus(PURGE_AFTER);
    let mut items = vec![
        app.users.delete(user, now, purge_at),
        app.users.expire_email(&user.email, user.id, purge_at),
        app.credentials.expire_password(user.id, purge_at),
        app.outbox.insert(Kind::AccountDeleted, user, None, now),
        app.audit.insert(
            user.id,
            Event::AccountDelete,
            Outcome::Success,
            request.origin(),
        ),
    ];
    if let Some(username) = &user.username {
        items.push(app.users.expire_username(username, user.id, purge_at));
    }
    app.dynamodb
        .transact(
            items
                .into_iter()
                .map(|item| Write::new(item, Stale))
                .collect(),
        )
        .await
}

/// What this endpoint needs to know.
pub struct Config {
    users_table: String,
    credentials_table: String,
    dynamodb: dynamodb::Config,
    redis: redis::Config,
    access_tokens: TokenConfig,
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
            access_tokens: environment.access_tokens(),
            hash_cost: environment.hash_cost(),
        };
        environment.finish(config)
    }
}

/// What this endpoint may touch.
pub struct App {
    authenticator: Authenticator,
    dynamodb: DynamoDb,
    users: Users,
    credentials: Credentials,
    outbox: Outbox,
    audit: Audit,
    hasher: PasswordHasher,
}

impl App {
    pub fn new(config: Config) -> Result<Self, StartError> {
        let dynamodb = DynamoDb::new(config.dynamodb);
        let users = Users::new(dynamodb.clone(), config.users_table.clone());
        Ok(Self {
            authenticator: Authenticator {
                access_tokens: AccessTokens::new(config.access_tokens),
                sessions: Sessions::new(Redis::new(&config.redis)?),
                users: users.clone(),
            },
            users,
            credentials: Credentials::new(dynamodb.clone(), config.credentials_table),
            outbox: Outbox::new(config.users_table.clone()),
            audit: Audit::new(dynamodb.clone(), config.users_table),
            dynamodb,
            hasher: PasswordHasher::new(config.hash_cost).map_err(StartError::new)?,
        })
    }
}
