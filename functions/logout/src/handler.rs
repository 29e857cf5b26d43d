use shared::api::Field;
use shared::api::logout::LogoutRequest;
use shared::config::Environment;
use shared::error::ApiError;
use shared::http::cookie_mode::CookieCheck;
use shared::http::guard::Guard;
use shared::http::{Request, Response, authentication, cookies};
use shared::store::audit::{Audit, Event, Outcome};
use shared::store::sessions::Sessions;
use shared::{StartError, clock};

pub async fn logout(app: &App, request: Request) -> Result<Response, ApiError> {
    // The token alone: a session that is over already is what was asked for.
    let claims = authentication::claims(&request)?;
    let claims = claims.ok_or(ApiError::MissingToken)?;
    let has_cookie = request.cookie(cookies::REFRESH_TOKEN).is_some();
    if has_cookie {
        app.cookie_check.origin(&request)?;
        app.cookie_check.csrf_token(&request, claims.sid)?;
    }
    let body: LogoutRequest = request.optional_json()?;
    let all_devices = body.all_devices.is_some_and(Field::into_inner);

    let record = |outcome| {
        let (event, origin) = (Event::Logout, request.origin());
        app.audit.record(claims.sub, event, outcome, origin)
    };
    let message = match all_devices {
        true => {
            request.pass().await?;
            // A session that is over has no say over others, and must not be told it had.
            if !app.sessions.revoke_all_as(claims.sid, claims.sub).await? {
                return Err(ApiError::TokenRevoked);
            }
            record(Outcome::Success).await?;
            "Signed out on all devices."
        }
        false => {
            // Together: to end a session once more, or once too often, does no harm.
            let (passed, ended, recorded) = tokio::join!(
                request.pass(),
                app.sessions.revoke(claims.sid, claims.sub),
                record(Outcome::Success),
            );
            if ended.is_err() {
                // Perhaps it lives on: the trail must not leave it at that.
                clock::aftermath("the record of a failed logout", record(Outcome::Failure)).await;
            }
            passed?;
            ended?;
            recorded?;
            "Signed out."
        }
    };
    let ended = has_cookie.then(|| cookies::remove(cookies::REFRESH_TOKEN));
    Ok(Response::done(message).with_cookies(ended.into_iter().collect()))
}

/// What this endpoint may touch.
pub struct App {
    pub guard: Guard,
    cookie_check: CookieCheck,
    sessions: Sessions,
    audit: Audit,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: Guard::for_users(&mut environment, None),
            cookie_check: environment.cookie_check(),
            sessions: environment.sessions(),
            audit: Audit::new(environment.dynamodb(), environment.text("USERS_TABLE")),
        };
        environment.finish(app)
    }
}
