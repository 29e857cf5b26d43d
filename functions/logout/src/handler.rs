use secrecy::{ExposeSecret, SecretString};
use shared::StartError;
use shared::api::Field;
use shared::api::logout::LogoutRequest;
use shared::auth::authentication::PresentedAccessToken;
use shared::config::Environment;
use shared::domain::session::SessionId;
use shared::domain::token::RefreshTokenVerifier;
use shared::domain::user::UserId;
use shared::error::ApiError;
use shared::http::cookie_mode::CsrfProtection;
use shared::http::{Request, Response, cookies};
use shared::serve::{AccessTokenGuard, PendingLimits};
use shared::store::audit::{Audit, Event, Outcome};
use shared::store::sessions::Sessions;

pub async fn logout(
    app: &App,
    access_token: PresentedAccessToken,
    request: Request,
    limits: PendingLimits,
) -> Result<Response, ApiError> {
    let body = request.optional_json::<LogoutRequest>();
    let refresh_token = body.as_ref().ok();
    let refresh_token = refresh_token.and_then(|body| body.refresh_token.as_ref()?.as_ref());
    let (user_id, session_id, is_valid) = session(app, refresh_token, &access_token, &request)?;
    let has_cookie = refresh_token.is_none() && request.cookie(cookies::REFRESH_TOKEN).is_some();
    if has_cookie {
        app.csrf_protection.origin(&request)?;
        app.csrf_protection.csrf_token(&request, session_id)?;
    }
    let all_devices = body?.all_devices.is_some_and(Field::into_inner);
    let (has_ended, message) = match all_devices {
        true => {
            limits.charge().await?;
            // An expired token, from a log for example, ends only its own session.
            if !is_valid {
                return Err(ApiError::TokenExpired);
            }
            // A session that is over cannot end others, and the client must not be told that it did.
            if !app
                .sessions
                .revoke_all_by_session(session_id, user_id)
                .await?
            {
                return Err(ApiError::TokenRevoked);
            }
            (true, "Signed out on all devices.")
        }
        false => {
            // Both at once: ending a session again, or beyond the rate limit, does no harm.
            let (charged, ended) =
                tokio::join!(limits.charge(), app.sessions.revoke(session_id, user_id));
            charged?;
            (ended?, "Signed out.")
        }
    };
    // Recorded only if a session was ended: a token of an ended session must not fill its owner's audit log.
    if has_ended {
        let (event, success) = (Event::Logout, Outcome::Success);
        let recorded = app.audit.record(user_id, event, success, request.client());
        recorded.await?;
    }
    let ended = has_cookie.then(|| cookies::remove(cookies::REFRESH_TOKEN));
    Ok(Response::done(message).with_cookies(ended.into_iter().collect()))
}

/// Returns the session to end, and whether a token that names it is unexpired. The session is named by the refresh
/// token in the body, else by the access token, else by the refresh token's cookie. Tokens that have expired, or whose
/// session is over, are accepted as well: the request only ends the session.
fn session(
    app: &App,
    refresh_token: Option<&SecretString>,
    access_token: &PresentedAccessToken,
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
    match (access_token.valid_or_expired()?, cookie) {
        (Some(claims), cookie) => {
            let of_cookie = cookie.and_then(|token| tokens.verify(token, now).ok());
            let is_of_session = of_cookie.is_some_and(|cookie| cookie.sid == claims.sid);
            let is_valid = access_token.valid().is_ok() || is_of_session;
            Ok((claims.sub, claims.sid, is_valid))
        }
        (None, Some(token)) => of_refresh_token(token),
        (None, None) => Err(ApiError::MissingToken),
    }
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: AccessTokenGuard,
    refresh_tokens: RefreshTokenVerifier,
    csrf_protection: CsrfProtection,
    sessions: Sessions,
    audit: Audit,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: AccessTokenGuard::for_logout(&mut environment),
            refresh_tokens: RefreshTokenVerifier::from_env(&mut environment),
            csrf_protection: CsrfProtection::from_env(&mut environment),
            sessions: Sessions::from_env(&mut environment),
            audit: Audit::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
