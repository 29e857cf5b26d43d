use shared::StartError;
use shared::config::Environment;
use shared::domain::secret::Secret;
use shared::domain::session::Lifetimes;
use shared::domain::token::{TokenError, TokenPairConfig};
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::representation::TokenIssuer;
use shared::http::{Request, Response};
use shared::store::audit::{Audit, Event, Outcome};
use shared::store::dynamodb::{self, DynamoDb};
use shared::store::redis::{self, Redis};
use shared::store::sessions::{Rotation, Sessions};
use shared::store::users::Users;
use shared::telemetry;

pub async fn refresh(app: &App, request: Request) -> Result<Response, ApiError> {
    let result = rotate(app, &request).await;
    let outcome = result.as_ref().map_or_else(ApiError::code, |_| "success");
    telemetry::count("Refreshes", &[("Outcome", outcome)]);
    result
}

async fn rotate(app: &App, request: &Request) -> Result<Response, ApiError> {
    let token: Secret = request.parse(|fields| {
        fields.required("refreshToken", |text| {
            Ok::<_, &str>(Secret::new(text.to_owned()))
        })
    })?;
    let (now, origin) = (request.received_at(), request.origin());
    let claims = app
        .tokens
        .refresh
        .verify(token.expose(), now)
        .map_err(|error| match error {
            TokenError::Invalid => ApiError::RefreshTokenInvalid,
            TokenError::Expired => ApiError::RefreshTokenExpired,
        })?;

    // Together: the answer of one does not change what is asked of the other.
    let (rotation, user) = tokio::try_join!(
        app.sessions.rotate(
            claims.sid,
            claims.sub,
            claims.counter,
            &app.lifetimes,
            origin
        ),
        app.users.find(claims.sub, now),
    )?;
    let Some(user) = user.filter(User::is_active) else {
        app.sessions.end_all(claims.sub).await?;
        return Err(ApiError::RefreshTokenInvalid);
    };
    match rotation {
        // For both the same tokens: whoever lost the answer, or asked twice, gets the one successor.
        Rotation::Rotated(session) | Rotation::Repeated(session) => Ok(Response::ok(
            "The tokens were renewed.",
            app.tokens.issue(&session, user.role, now),
        )),
        Rotation::Gone => Err(ApiError::RefreshTokenInvalid),
        Rotation::Reused => {
            telemetry::count("RefreshTokenReuse", &[]);
            app.audit
                .record(user.id, Event::RefreshTokenReuse, Outcome::Failure, origin)
                .await?;
            Err(ApiError::RefreshTokenReused)
        }
    }
}

/// What this endpoint needs to know.
pub struct Config {
    users_table: String,
    dynamodb: dynamodb::Config,
    redis: redis::Config,
    tokens: TokenPairConfig,
    lifetimes: Lifetimes,
}

impl Config {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let config = Self {
            users_table: environment.text("USERS_TABLE"),
            dynamodb: environment.dynamodb(),
            redis: environment.redis(),
            tokens: environment.token_pair(),
            lifetimes: environment.session_lifetimes(),
        };
        environment.finish(config)
    }
}

/// What this endpoint may touch.
pub struct App {
    users: Users,
    audit: Audit,
    sessions: Sessions,
    lifetimes: Lifetimes,
    tokens: TokenIssuer,
}

impl App {
    pub fn new(config: Config) -> Result<Self, StartError> {
        let dynamodb = DynamoDb::new(config.dynamodb);
        Ok(Self {
            users: Users::new(dynamodb.clone(), config.users_table.clone()),
            audit: Audit::new(dynamodb, config.users_table),
            sessions: Sessions::new(Redis::new(&config.redis)?),
            lifetimes: config.lifetimes,
            tokens: TokenIssuer::new(config.tokens),
        })
    }
}
