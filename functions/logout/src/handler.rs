use secrecy::{ExposeSecret, SecretString};
use shared::StartError;
use shared::api::Field;
use shared::api::logout::LogoutRequest;
use shared::config::Environment;
use shared::domain::session::SessionId;
use shared::domain::token::{AccessTokenVerifier, RefreshTokenVerifier};
use shared::domain::user::UserId;
use shared::error::ApiError;
use shared::http::cookie_mode::CookieCheck;
use shared::http::guard::Guard;
use shared::http::{Request, Response, authentication, cookies};
use shared::store::audit::{Audit, Event, Outcome};
use shared::store::sessions::Sessions;

pub async fn logout(app: &App, request: Request) -> Result<Response, ApiError> {
    let body = request.optional_json::<LogoutRequest>();
    let refresh_token = body.as_ref().ok();
    let refresh_token = refresh_token.and_then(|body| body.refresh_token.as_ref()?.as_ref());
    let (user_id, session_id, is_valid) = session(app, refresh_token, &request)?;
    let has_cookie = refresh_token.is_none() && request.cookie(cookies::REFRESH_TOKEN).is_some();
    if has_cookie {
        app.cookie_check.origin(&request)?;
        app.cookie_check.csrf_token(&request, session_id)?;
    }
    let all_devices = body?.all_devices.is_some_and(Field::into_inner);
    let (has_ended, message) = match all_devices {
        true => {
            request.pass().await?;
            // An old token, out of a log, ends its own session alone.
            if !is_valid {
                return Err(ApiError::TokenExpired);
            }
            // A session that is over has no say over others, and must not be told it had.
            if !app.sessions.revoke_all_as(session_id, user_id).await? {
                return Err(ApiError::TokenRevoked);
            }
            (true, "Signed out on all devices.")
        }
        false => {
            // Together: to end a session once more, or once too often, does no harm.
            let (passed, ended) =
                tokio::join!(request.pass(), app.sessions.revoke(session_id, user_id));
            passed?;
            (ended?, "Signed out.")
        }
    };
    // Only then: whoever holds a token of a session that is over must not fill its owner's trail.
    if has_ended {
        let (event, success, origin) = (Event::Logout, Outcome::Success, request.origin());
        app.audit.record(user_id, event, success, origin).await?;
    }
    let ended = has_cookie.then(|| cookies::remove(cookies::REFRESH_TOKEN));
    Ok(Response::done(message).with_cookies(ended.into_iter().collect()))
}

/// The session that is to end, by the refresh token in the body, the access token or the refresh token's cookie; and
/// whether one of them has not expired. One that has, or whose session is over, names it as well: what it asks for is the
/// end.
fn session(
    app: &App,
    refresh_token: Option<&SecretString>,
    request: &Request,
) -> Result<(UserId, SessionId, bool), ApiError> {
    let (tokens, now) = (&app.refresh_tokens, request.received_at());
    let of_refresh_token = |token: &str| {
        let claims = tokens.valid_or_expired(token, now);
        let claims = claims.ok_or(ApiError::RefreshTokenInvalid)?;
        Ok((claims.sub, claims.sid, tokens.verify(token, now).is_ok()))
    };
    if let Some(token) = refresh_token {
        return of_refresh_token(token.expose_secret());
    }
    let cookie = request.cookie(cookies::REFRESH_TOKEN);
    let expired = authentication::claims_of_expired(&app.access_tokens, request)?;
    match (expired, cookie) {
        (Some(claims), cookie) => {
            let of_cookie = cookie.and_then(|token| tokens.verify(token, now).ok());
            let is_of_session = of_cookie.is_some_and(|cookie| cookie.sid == claims.sid);
            let is_valid = authentication::claims(request).is_ok() || is_of_session;
            Ok((claims.sub, claims.sid, is_valid))
        }
        (None, Some(token)) => of_refresh_token(token),
        (None, None) => Err(ApiError::MissingToken),
    }
}

/// What this endpoint may touch.
pub struct App {
    pub guard: Guard,
    access_tokens: AccessTokenVerifier,
    refresh_tokens: RefreshTokenVerifier,
    cookie_check: CookieCheck,
    sessions: Sessions,
    audit: Audit,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: Guard::for_leaving(&mut environment),
            access_tokens: environment.access_token_verifier(),
            refresh_tokens: environment.refresh_token_verifier(),
            cookie_check: environment.cookie_check(),
            sessions: environment.sessions(),
            audit: Audit::new(environment.dynamodb(), environment.text("USERS_TABLE")),
        };
        environment.finish(app)
    }
}
