use shared::StartError;
use shared::api::sessions::{Device, EndSessionsRequest, Session, SessionsAnswer};
use shared::config::Environment;
use shared::domain::session::SessionId;
use shared::error::ApiError;
use shared::http::authentication::{Authenticator, Caller};
use shared::http::guard::{Endpoint, Guard};
use shared::http::{Method, Request, Response};
use shared::store::audit::{Audit, Event, Outcome};
use shared::store::sessions::Listed;
use shared::store::users::Users;

pub async fn sessions(app: &App, request: Request) -> Result<Response, ApiError> {
    let caller = app.authenticator.required(&request).await?;
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
            let sessions = &app.authenticator.sessions;
            sessions
                .revoke_others(caller.session_id, caller.user.id)
                .await?;
            "All other sessions were ended."
        }
    };
    let (event, success) = (Event::SessionRevocation, Outcome::Success);
    app.audit
        .record(caller.user.id, event, success, request.origin())
        .await?;
    Ok(Response::done(message))
}

async fn list(app: &App, caller: &Caller) -> Result<Response, ApiError> {
    let (sessions, devices) = app.authenticator.sessions.list(caller.user.id).await?;
    let standing = caller.user.standing();
    let is_good = |session: &Listed<_>| standing.allows(session.id, session.epoch);
    let session = |session: Listed<_>| Session {
        current: session.id == caller.session_id,
        id: session.id,
        created_at: session.created_at,
        last_used_at: session.last_used_at,
        ip: session.ip,
        user_agent: session.user_agent,
    };
    let since = caller.user.device_tokens_since;
    let is_known = |device: &Listed<_>| since.is_none_or(|since| device.id.time() >= since);
    let device = |device: Listed<_>| Device {
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

/// A session, or a device, whose token is void then. Another user's is one that there is not: the key is made of the
/// caller's id.
async fn end_one(app: &App, caller: &Caller, id: &str) -> Result<(), ApiError> {
    let id: SessionId = id.parse().map_err(|_| ApiError::NotFound)?;
    let sessions = &app.authenticator.sessions;
    match sessions.revoke(id, caller.user.id).await? {
        true => Ok(()),
        false => Err(ApiError::NotFound),
    }
}

/// What this endpoint may touch.
pub struct App {
    pub guard: Guard,
    authenticator: Authenticator,
    audit: Audit,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let dynamodb = environment.dynamodb();
        let users_table = environment.text("USERS_TABLE");
        let users = Users::new(dynamodb.clone(), users_table.clone());
        let endpoint = Endpoint::per_user("SESSIONS", "20/15m");
        let app = Self {
            guard: Guard::for_users(&mut environment, Some(endpoint)),
            authenticator: environment.authenticator(users),
            audit: Audit::new(dynamodb, users_table),
        };
        environment.finish(app)
    }
}
