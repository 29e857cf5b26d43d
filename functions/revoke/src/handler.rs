use secrecy::ExposeSecret;
use serde_json::json;
use shared::StartError;
use shared::config::Environment;
use shared::domain::service_client::ServiceClients;
use shared::domain::session::SessionId;
use shared::domain::timestamp::Timestamp;
use shared::domain::token::{AccessTokenVerifier, RefreshTokenVerifier};
use shared::domain::user::UserId;
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::store::audit::{Audit, Event, Outcome};
use shared::store::sessions::Sessions;

/// Ends the session of an access token or a refresh token, also of an expired one: with it, all its tokens are over. A
/// token that is not valid is over already (RFC 7009, 2.2).
pub async fn revoke(app: &App, request: Request) -> Result<Response, ApiError> {
    let token = app.clients.token(&request)?;
    let session = session(app, token.expose_secret(), request.received_at());
    if let Some((user_id, session_id)) = session {
        let has_ended = app.sessions.revoke(session_id, user_id).await?;
        // A token of an ended session must not fill its owner's audit log.
        if has_ended {
            let (event, success) = (Event::Logout, Outcome::Success);
            let recorded = app.audit.record(user_id, event, success, request.client());
            recorded.await?;
        }
    }
    Ok(Response::document(json!({})))
}

fn session(app: &App, token: &str, now: Timestamp) -> Option<(UserId, SessionId)> {
    if let Some(claims) = app.access_tokens.valid_or_expired(token, now) {
        return Some((claims.sub, claims.sid));
    }
    let claims = app.refresh_tokens.valid_or_expired(token, now)?;
    Some((claims.sub, claims.sid))
}

/// The endpoint's dependencies.
pub struct App {
    clients: ServiceClients,
    access_tokens: AccessTokenVerifier,
    refresh_tokens: RefreshTokenVerifier,
    sessions: Sessions,
    audit: Audit,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            clients: ServiceClients::from_env(&mut environment),
            access_tokens: AccessTokenVerifier::from_env(&mut environment),
            refresh_tokens: RefreshTokenVerifier::from_env(&mut environment),
            sessions: Sessions::from_env(&mut environment),
            audit: Audit::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
