use shared::StartError;
use shared::api::sessions::{Device, EndSessionsRequest, Session, SessionsAnswer};
use shared::auth::authentication::Caller;
use shared::config::Environment;
use shared::domain::device_token::DeviceId;
use shared::domain::session::SessionId;
use shared::error::ApiError;
use shared::http::{Method, Request, Response};
use shared::serve::{AuthenticatedGuard, Endpoint};
use shared::store::audit::{Audit, Event, Outcome};
use shared::store::sessions::{ListEntry, Sessions};

const LIMIT: Endpoint = Endpoint::per_caller("SESSIONS", "20/15m");

pub async fn sessions(app: &App, caller: Caller, request: Request) -> Result<Response, ApiError> {
    if request.method() != Method::DELETE {
        return list(app, &caller).await;
    }
    request.optional_json::<EndSessionsRequest>()?;
    let message = match request.path_parameter("id") {
        Some(id) => {
            end_one(app, &caller, id).await?;
            "The session was ended."
        }
        None => {
            let sessions = &app.sessions;
            sessions
                .revoke_others(caller.session_id, caller.user.id)
                .await?;
            "All other sessions were ended."
        }
    };
    let (event, success) = (Event::SessionRevocation, Outcome::Success);
    app.audit
        .record(caller.user.id, event, success, request.client())
        .await?;
    Ok(Response::done(message))
}

async fn list(app: &App, caller: &Caller) -> Result<Response, ApiError> {
    let (sessions, devices) = app.sessions.list(caller.user.id).await?;
    let status = caller.user.account_status();
    let is_good = |session: &ListEntry<_>| status.allows_session(session.id, session.epoch);
    let session = |session: ListEntry<_>| Session {
        current: session.id == caller.session_id,
        id: session.id,
        created_at: session.created_at,
        last_used_at: session.last_used_at,
        ip: session.ip,
        user_agent: session.user_agent,
    };
    let since = caller.user.device_tokens_since;
    let is_known =
        |device: &ListEntry<DeviceId>| since.is_none_or(|since| device.id.time() >= since);
    let device = |device: ListEntry<_>| Device {
        id: device.id,
        created_at: device.created_at,
        last_used_at: device.last_used_at,
        ip: device.ip,
        user_agent: device.user_agent,
    };
    let sessions = sessions.into_iter().filter(is_good).map(session);
    let devices = devices.into_iter().filter(is_known).map(device);
    let answer = SessionsAnswer {
        sessions: sessions.collect(),
        devices: devices.collect(),
    };
    Ok(Response::ok("The sessions of the account.", answer))
}

/// Ends a session or a device and so voids its tokens. Another user's session is not found: the key contains the
/// caller's id.
async fn end_one(app: &App, caller: &Caller, id: &str) -> Result<(), ApiError> {
    let id: SessionId = id.parse().map_err(|_| ApiError::NotFound)?;
    let sessions = &app.sessions;
    match sessions.revoke(id, caller.user.id).await? {
        true => Ok(()),
        false => Err(ApiError::NotFound),
    }
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: AuthenticatedGuard,
    sessions: Sessions,
    audit: Audit,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: AuthenticatedGuard::from_env(&mut environment, Some(LIMIT)),
            sessions: Sessions::from_env(&mut environment),
            audit: Audit::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
