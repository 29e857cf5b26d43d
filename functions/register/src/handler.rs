use std::time::Instant;

use serde::Serialize;
use shared::StartError;
use shared::config::Environment;
use shared::domain::email_address::EmailAddress;
use shared::domain::email_token::{self, Purpose, TokenId};
use shared::domain::id::Id;
use shared::domain::password::{Owner, Password, Policy};
use shared::domain::password_hash::{Cost, PasswordHash, PasswordHasher};
use shared::domain::person_name::PersonName;
use shared::domain::secret::Secret;
use shared::domain::session::{Lifetimes, Session};
use shared::domain::token::TokenPairConfig;
use shared::domain::user::User;
use shared::domain::username::Username;
use shared::error::ApiError;
use shared::http::representation::{TokenIssuer, TokensBody, UserBody};
use shared::http::{Request, Response};
use shared::store::audit::{self, Audit, Event, Outcome};
use shared::store::credentials::Credentials;
use shared::store::dynamodb::{self, DynamoDb, Write};
use shared::store::outbox::{Kind, Outbox};
use shared::store::redis::{self, Redis};
use shared::store::sessions::Sessions;
use shared::store::users::Users;
use shared::store::verification_tokens::VerificationTokens;
use shared::{random, telemetry};

struct Registration {
    email: EmailAddress,
    password: Password,
    username: Option<Username>,
    name: Option<PersonName>,
}

impl Registration {
    fn parse(request: &Request, policy: &Policy) -> Result<Self, ApiError> {
        request.parse(|fields| {
            let email = fields.required("email", EmailAddress::parse);
            let username = fields.optional("username", Username::parse);
            let name = fields.optional("name", PersonName::parse);
            let owner = Owner {
                email: email.as_ref(),
                username: username.as_ref().and_then(Option::as_ref),
            };
            let password = fields.required("password", |text| policy.parse(text, owner));
            Some(Self {
                email: email?,
                password: password?,
                username: username?,
                name: name?,
            })
        })
    }
}

#[derive(Serialize)]
struct Registered {
    user: UserBody,
    #[serde(flatten)]
    tokens: TokensBody,
}

/// Which part of the transaction was refused.
#[derive(Clone, Copy)]
enum Refused {
    EmailTaken,
    UsernameTaken,
    /// An identifier that is random was there before.
    Collision,
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::EmailTaken => Self::EmailTaken,
            Refused::UsernameTaken => Self::UsernameTaken,
            Refused::Collision => Self::Internal("a random identifier occurred twice".into()),
        }
    }
}

pub async fn register(app: &App, request: Request) -> Result<Response, ApiError> {
    let registration = Registration::parse(&request, &app.policy)?;
    let now = request.received_at();
    let origin = request.origin();

    let started = Instant::now();
    let hash = app.hasher.hash(&registration.password, random::bytes());
    telemetry::time("HashTime", started.elapsed());

    let Registration {
        email,
        username,
        name,
        ..
    } = registration;
    let user = User::new(Id::new(now, random::bytes()), email, username, name, now);

    // The session first: if Redis is down, nothing has been made. A session whose account then is
    // not made belongs to nobody, and its tokens are never handed out.
    let session_id = Id::new(now, random::bytes());
    let session = app
        .sessions
        .start(
            session_id,
            user.id,
            user.role,
            false,
            &app.lifetimes,
            origin,
        )
        .await?;
    if let Err(error) = create(app, &user, &hash, &request).await {
        discard(app, &session).await;
        return Err(error);
    }

    telemetry::count("Registrations", &[]);
    let tokens = app.tokens.issue(&session, user.role, now);
    Ok(Response::created(
        "The account was created.",
        Registered {
            user: UserBody::from(&user),
            tokens,
        },
    ))
}

/// Everything that makes an account, or nothing: of two registrations racing for an address or a
/// username exactly one wins, and no account lacks its verification mail.
async fn create(
    app: &App,
    user: &User,
    hash: &PasswordHash,
    request: &Request,
) -> Result<(), ApiError> {
    let (now, origin) = (request.received_at(), request.origin());
    let token_id = TokenId::new(random::bytes());
    let token = email_token::derive(&app.email_token_secret, Purpose::VerifyEmail, &token_id);
    let token_hash = email_token::hash(&token);

    let mut writes = vec![Write::new(
        app.users.claim_email(&user.email, user.id, now),
        Refused::EmailTaken,
    )];
    if let Some(username) = &user.username {
        writes.push(Write::new(
            app.users.claim_username(username, user.id, now),
            Refused::UsernameTaken,
        ));
    }
    writes.extend(
        [
            app.users.insert(user),
            app.credentials.insert_password(user.id, hash, now),
            app.verification_tokens.insert(&token_hash, user.id, now),
            app.outbox
                .insert(Kind::VerifyEmail, user, Some(&token_id), now),
            app.audit
                .insert(user.id, Event::Register, Outcome::Success, origin),
        ]
        .map(|item| Write::new(item, Refused::Collision)),
    );
    app.dynamodb.transact(writes).await?;
    audit::log(Some(user.id), Event::Register, Outcome::Success, origin);
    Ok(())
}

/// Best effort: what is left behind expires by itself.
async fn discard(app: &App, session: &Session) {
    if let Err(error) = app.sessions.end(session.id, session.user_id).await {
        tracing::warn!(cause = %error, "a session without an account is left to expire");
    }
}

/// What this endpoint needs to know.
pub struct Config {
    users_table: String,
    credentials_table: String,
    dynamodb: dynamodb::Config,
    redis: redis::Config,
    tokens: TokenPairConfig,
    lifetimes: Lifetimes,
    email_token_secret: Secret,
    policy: Policy,
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
            email_token_secret: environment.secret("EMAIL_TOKEN_SECRET"),
            policy: environment.password_policy(),
            hash_cost: environment.hash_cost(),
        };
        environment.finish(config)
    }
}

/// What this endpoint may touch.
pub struct App {
    dynamodb: DynamoDb,
    users: Users,
    credentials: Credentials,
    verification_tokens: VerificationTokens,
    outbox: Outbox,
    audit: Audit,
    sessions: Sessions,
    lifetimes: Lifetimes,
    tokens: TokenIssuer,
    email_token_secret: Secret,
    policy: Policy,
    hasher: PasswordHasher,
}

impl App {
    pub fn new(config: Config) -> Result<Self, StartError> {
        let dynamodb = DynamoDb::new(config.dynamodb);
        Ok(Self {
            users: Users::new(dynamodb.clone(), config.users_table.clone()),
            credentials: Credentials::new(dynamodb.clone(), config.credentials_table),
            verification_tokens: VerificationTokens::new(config.users_table.clone()),
            outbox: Outbox::new(config.users_table.clone()),
            audit: Audit::new(dynamodb.clone(), config.users_table),
            dynamodb,
            sessions: Sessions::new(Redis::new(&config.redis)?),
            lifetimes: config.lifetimes,
            tokens: TokenIssuer::new(config.tokens),
            email_token_secret: config.email_token_secret,
            policy: config.policy,
            hasher: PasswordHasher::new(config.hash_cost).map_err(StartError::new)?,
        })
    }
}
