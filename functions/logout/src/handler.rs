use shared::StartError;
use shared::config::Environment;
use shared::domain::token::{AccessTokens, TokenConfig};
use shared::error::ApiError;
use shared::http::{Request, Response, authentication};
use shared::store::audit::{Audit, Event, Outcome};
use shared::store::dynamodb::{self, DynamoDb};
use shared::store::redis::{self, Redis};
use shared::store::sessions::Sessions;

pub async fn logout(app: &App, request: Request) -> Result<Response, ApiError> {
    // The token alone: a session that is over already is what was asked for.
    let claims =
        authentication::claims(&app.access_tokens, &request)?.ok_or(ApiError::MissingToken)?;
    let all_devices = request.parse_optional(|fields| fields.flag("allDevices"))?;

    let end = async {
        match all_devices {
            true => app.sessions.end_all_as(claims.sid, claims.sub).await,
            false => app.sessions.end(claims.sid, claims.sub).await,
        }
    };
    tokio::try_join!(
        end,
        app.audit.record(
            claims.sub,
            Event::Logout,
            Outcome::Success,
            request.origin()
        )
    )?;
    Ok(Response::done(if all_devices {
        "Signed out on all devices."
    } else {
        "Signed out."
    }))
}

/// What this endpoint needs to know.
pub struct Config {
    users_table: String,
    dynamodb: dynamodb::Config,
    redis: redis::Config,
    access_tokens: TokenConfig,
}

impl Config {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let config = Self {
            users_table: environment.text("USERS_TABLE"),
            dynamodb: environment.dynamodb(),
            redis: environment.redis(),
            access_tokens: environment.access_tokens(),
        };
        environment.finish(config)
    }
}

/// What this endpoint may touch.
pub struct App {
    access_tokens: AccessTokens,
    sessions: Sessions,
    audit: Audit,
}

impl App {
    pub fn new(config: Config) -> Result<Self, StartError> {
        Ok(Self {
            access_tokens: AccessTokens::new(config.access_tokens),
            sessions: Sessions::new(Redis::new(&config.redis)?),
            audit: Audit::new(DynamoDb::new(config.dynamodb), config.users_table),
        })
    }
}
