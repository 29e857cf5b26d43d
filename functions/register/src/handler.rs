use secrecy::SecretString;
use shared::StartError;
use shared::api::Field;
use shared::api::register::{RegisterAnswer, RegisterRequest};
use shared::config::Environment;
use shared::domain::device_token::{Device, DeviceTokenIssuer};
use shared::domain::email_token::{self, Purpose, TokenId};
use shared::domain::id::Id;
use shared::domain::password::Policy;
use shared::domain::password_hash::{PasswordHash, PasswordHasher};
use shared::domain::session::{Lifetime, Session};
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::cookie_mode::Transport;
use shared::http::guard::{Endpoint, Guard};
use shared::http::token_issuer::{TokenIssuer, Tokens};
use shared::http::{Request, Response};
use shared::store::audit::{self, Audit, Event, Outcome};
use shared::store::credentials::Credentials;
use shared::store::dynamodb::{DynamoDb, Write};
use shared::store::outbox::{Kind, Outbox};
use shared::store::sessions::{Epoch, Sessions};
use shared::store::users::Users;
use shared::store::verification_tokens::VerificationTokens;
use shared::{random, telemetry};

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
    let check = |body: &RegisterRequest| body.check_password(&app.policy);
    let body = request.json_with(check)?;
    let now = request.received_at();
    let origin = request.origin();

    let password = body.password.into_inner();
    let hash = telemetry::hashing(|| app.hasher.hash(&password, random::bytes()));
    let email = body.email.into_inner();
    let username = body.username.map(|field| field.into_inner().into());
    let name = body.name.map(Field::into_inner);
    let mut user = User::new(Id::new(now, random::bytes()), email, username, name, now);
    let (secret, purpose) = (&app.email_token_secret, Purpose::VerifyEmail);
    let (token_id, token) = email_token::mint(secret, purpose, random::bytes());
    user.verification_token = Some(token);

    let Ok(admitted) = user.admit(app.verification_is_required) else {
        create(app, &user, &hash, &token_id, &request).await?;
        telemetry::count("Registrations", &[]);
        let (user, tokens) = ((&user).into(), None);
        let message = "The account was created. The address must be verified before signing in.";
        return Ok(Response::created(message, RegisterAnswer { user, tokens }));
    };
    // The session first: if Redis is down, nothing has been made. A session whose account then is
    // not made belongs to nobody, and its tokens are never handed out.
    let (session_id, epoch) = (Id::new(now, random::bytes()), Epoch::default());
    let session = app
        .sessions
        .start(session_id, admitted, &app.lifetime, &epoch, origin)
        .await?
        .ok_or(Refused::Collision)?;
    if let Err(error) = create(app, &user, &hash, &token_id, &request).await {
        discard(app, &session).await;
        return Err(error);
    }

    telemetry::count("Registrations", &[]);
    let device = Device {
        id: Id::new(now, random::bytes()),
        user_id: user.id,
    };
    let transport = Transport::asked_for(&request);
    let tokens = app.tokens.issue(&session, user.role, transport, now);
    let Tokens { body, cookies, .. } =
        tokens.with_device_token(app.device_tokens.issue(device, now));
    let (user, tokens) = ((&user).into(), Some(body));
    let message = "The account was created.";
    Ok(Response::created(message, RegisterAnswer { user, tokens }).with_cookies(cookies))
}

/// Everything that makes an account, or nothing: of two registrations racing for an address or a
/// username exactly one wins, and no account lacks its verification mail.
async fn create(
    app: &App,
    user: &User,
    hash: &PasswordHash,
    token_id: &TokenId,
    request: &Request,
) -> Result<(), ApiError> {
    let (now, origin) = (request.received_at(), request.origin());
    let (kind, language) = (Kind::VerifyEmail, request.language());
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
            app.users.create(user),
            app.credentials.create_password(user.id, hash, now),
            app.outbox.create(kind, user, Some(token_id), language, now),
            app.audit
                .create(user.id, Event::Register, Outcome::Success, origin),
        ]
        .map(|item| Write::new(item, Refused::Collision)),
    );
    writes.extend(user.verification_token.as_ref().map(|token| {
        let item = app.verification_tokens.create(token, user.id, now);
        Write::new(item, Refused::Collision)
    }));
    app.dynamodb.transact(writes).await?;
    audit::log(Some(user.id), Event::Register, Outcome::Success, origin);
    Ok(())
}

/// Best effort: what is left behind expires by itself.
async fn discard(app: &App, session: &Session) {
    if let Err(error) = app.sessions.revoke(session.id, session.user_id).await {
        tracing::warn!(cause = %error, "a session without an account is left to expire");
    }
}

/// What this endpoint may touch.
pub struct App {
    pub guard: Guard,
    dynamodb: DynamoDb,
    users: Users,
    credentials: Credentials,
    verification_tokens: VerificationTokens,
    outbox: Outbox,
    audit: Audit,
    sessions: Sessions,
    lifetime: Lifetime,
    tokens: TokenIssuer,
    device_tokens: DeviceTokenIssuer,
    email_token_secret: SecretString,
    verification_is_required: bool,
    policy: Policy,
    hasher: PasswordHasher,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let dynamodb = environment.dynamodb();
        let users_table = environment.text("USERS_TABLE");
        let credentials_table = environment.text("CREDENTIALS_TABLE");
        let endpoint = Endpoint::per_client("REGISTER", "5/15m");
        let app = Self {
            guard: Guard::for_guests(&mut environment, endpoint),
            users: Users::new(dynamodb.clone(), users_table.clone()),
            credentials: Credentials::new(dynamodb.clone(), credentials_table),
            verification_tokens: VerificationTokens::new(dynamodb.clone(), users_table.clone()),
            outbox: Outbox::new(users_table.clone()),
            audit: Audit::new(dynamodb.clone(), users_table),
            dynamodb,
            sessions: environment.sessions(),
            lifetime: Lifetime {
                is_remembered: false,
                idle: environment.refresh_expiry(),
                maximum: environment.session_max_age(),
            },
            tokens: environment.token_issuer(),
            device_tokens: environment.device_token_issuer(),
            email_token_secret: environment.secret("EMAIL_TOKEN_SECRET"),
            verification_is_required: environment.boolean("REQUIRE_VERIFIED_EMAIL", false),
            policy: environment.password_policy(),
            hasher: environment.password_hasher(),
        };
        environment.finish(app)
    }
}
