use shared::StartError;
use shared::api::refresh::CsrfTokenAnswer;
use shared::config::Environment;
use shared::domain::session::RotationPolicy;
use shared::domain::token::RefreshClaims;
use shared::domain::user::UserId;
use shared::error::ApiError;
use shared::http::cookie_mode::{CookieCheck, Transport};
use shared::http::guard::{Endpoint, Guard};
use shared::http::refresh_token::{Presented, Source};
use shared::http::token_issuer::TokenIssuer;
use shared::http::{Request, Response};
use shared::store::audit::{self, Audit, Event, Outcome};
use shared::store::dynamodb::{DynamoDb, Write};
use shared::store::outbox::{Kind, Links, Outbox};
use shared::store::sessions::{Repetition, Rotated, Rotation, Sessions};
use shared::store::users::Users;
use shared::telemetry;

pub async fn refresh(app: &App, mut request: Request) -> Result<Response, ApiError> {
    let token = request.take_refresh_token();
    if request.is_to("POST /api/auth/csrf-token") {
        return csrf_token(app, token, &request).await;
    }
    let result = exchange(app, token, &request).await;
    let outcome = result.as_ref().map_or_else(ApiError::code, |_| "success");
    telemetry::count("Refreshes", &[("Outcome", outcome)]);
    result
}

async fn exchange(
    app: &App,
    token: Option<Presented>,
    request: &Request,
) -> Result<Response, ApiError> {
    let now = request.received_at();
    let (claims, transport) = accept(app, token, request)?;

    // Together: the answer of one does not change what is asked of the others. All to the end: a
    // rotation that is one too many, or whose user cannot be read, is taken back.
    let (id, counter, origin) = (claims.sid, claims.counter, request.origin());
    let (passed, rotation, user) = tokio::join!(
        request.pass(),
        app.sessions
            .rotate(id, claims.sub, counter, &app.policy, origin),
        app.users.find_standing(claims.sub, now),
    );
    let (rotation, user) = match (passed, rotation, user) {
        (Ok(()), Ok(rotation), Ok(user)) => (rotation, user),
        (passed, rotation, user) => {
            match &rotation {
                Ok(Rotation::Rotated(rotated, _)) => undo(app, rotated).await,
                // It has ended the session, whatever the client is told.
                Ok(Rotation::Reused) => record_reuse(app, claims.sub, request).await?,
                _ => {}
            }
            passed?;
            rotation?;
            user?;
            unreachable!("one of the three has failed")
        }
    };
    let Some(user) = user.filter(|user| user.status.is_active()) else {
        app.sessions.revoke_all(claims.sub).await?;
        return Err(ApiError::RefreshTokenInvalid);
    };
    // For both the same token: whoever lost the answer, or asked twice, gets the one successor.
    let (session, epoch, repetition) = match rotation {
        Rotation::Rotated(Rotated { session, .. }, epoch) => (session, epoch, Repetition::Same),
        Rotation::Repeated(session, epoch, repetition) => (session, epoch, repetition),
        Rotation::Gone => return Err(ApiError::RefreshTokenInvalid),
        Rotation::Reused => {
            record_reuse(app, claims.sub, request).await?;
            return Err(ApiError::RefreshTokenReused);
        }
    };
    // Ended with a new password or a second factor, by the record alone.
    if !user.allows(id, epoch) {
        app.sessions.revoke(id, claims.sub).await?;
        return Err(ApiError::RefreshTokenInvalid);
    }
    if let Repetition::Elsewhere { is_first } = repetition {
        record_repetition(app, claims.sub, is_first, request).await?;
    }
    let tokens = app.tokens.issue(&session, user.role, transport, now);
    let response = Response::ok("The tokens were renewed.", tokens.body);
    Ok(response.with_cookies(tokens.cookies))
}

/// Somebody asks for a successor that was handed out already, from elsewhere: a client on the move that has lost
/// the answer, or whoever has copied its token. The owner is told, once in a session.
async fn record_repetition(
    app: &App,
    id: UserId,
    is_first: bool,
    request: &Request,
) -> Result<(), ApiError> {
    telemetry::count("RefreshTokenRepeated", &[]);
    let (event, success, origin) = (
        Event::RefreshTokenRepeated,
        Outcome::Success,
        request.origin(),
    );
    let user = match is_first {
        true => app.users.find(id, request.received_at()).await?,
        false => None,
    };
    let Some(user) = user else {
        return Ok(app.audit.record(id, event, success, origin).await?);
    };
    let kind = Kind::SessionUsedElsewhere;
    let writes = [
        app.audit.create(id, event, success, origin),
        app.outbox
            .create(kind, &user, &Links::none(), request.language(), origin),
    ];
    let writes = Write::all(writes, Collision);
    app.dynamodb.transact(writes).await?;
    audit::log(Some(id), event, success, origin);
    Ok(())
}

/// An identifier that is random was there before.
#[derive(Clone, Copy)]
struct Collision;

impl From<Collision> for ApiError {
    fn from(_: Collision) -> Self {
        Self::Internal("a random identifier occurred twice".into())
    }
}

/// The session's CSRF token once more, for a page that has lost it: its cookie shows the session, its origin that it is a
/// page of ours; a browser sends the cookie with no request of another site, and shows no other origin the answer.
async fn csrf_token(
    app: &App,
    token: Option<Presented>,
    request: &Request,
) -> Result<Response, ApiError> {
    request.pass().await?;
    let token = token.ok_or(ApiError::RefreshTokenInvalid)?;
    let Source::Cookie = token.source? else {
        return Err(ApiError::MissingToken);
    };
    app.cookie_check.origin(request)?;
    let csrf_token = app.tokens.csrf.token(token.claims?.sid);
    Ok(Response::ok(
        "The CSRF token of the session.",
        CsrfTokenAnswer { csrf_token },
    ))
}

async fn record_reuse(app: &App, id: UserId, request: &Request) -> Result<(), ApiError> {
    telemetry::count("RefreshTokenReuse", &[]);
    let (event, outcome) = (Event::RefreshTokenReuse, Outcome::Failure);
    let recorded = app.audit.record(id, event, outcome, request.origin());
    Ok(recorded.await?)
}

/// The claims of the refresh token, and how its successor is to be sent. A cookie needs proof that a page of ours has
/// sent it.
fn accept(
    app: &App,
    token: Option<Presented>,
    request: &Request,
) -> Result<(RefreshClaims, Transport), ApiError> {
    let token = token.ok_or(ApiError::RefreshTokenInvalid)?;
    if let Source::Body = token.source? {
        return Ok((token.claims?, Transport::asked_for(request)?));
    }
    Transport::asked_for(request)?;
    app.cookie_check.origin(request)?;
    let claims = token.claims?;
    app.cookie_check.csrf_token(request, claims.sid)?;
    Ok((claims, Transport::Cookies))
}

/// Without this, an outage longer than the grace would make the client's next try look like the use
/// of a stolen token. Best effort: within the grace the client is served all the same.
async fn undo(app: &App, rotated: &Rotated) {
    if let Err(error) = app.sessions.undo(rotated).await {
        tracing::error!(cause = %error, "a rotation was not taken back");
    }
}

/// What this endpoint may touch.
pub struct App {
    pub guard: Guard,
    dynamodb: DynamoDb,
    users: Users,
    outbox: Outbox,
    audit: Audit,
    sessions: Sessions,
    policy: RotationPolicy,
    tokens: TokenIssuer,
    cookie_check: CookieCheck,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let dynamodb = environment.dynamodb();
        let users_table = environment.text("USERS_TABLE");
        let endpoint = Endpoint::per_session("REFRESH", "30/15m");
        let app = Self {
            guard: Guard::for_sessions(&mut environment, endpoint),
            users: Users::new(dynamodb.clone(), users_table.clone()),
            outbox: Outbox::new(users_table.clone()),
            audit: Audit::new(dynamodb.clone(), users_table),
            dynamodb,
            sessions: environment.sessions(),
            policy: RotationPolicy {
                idle: environment.refresh_expiry(),
                idle_remembered: environment.remember_me_expiry(),
                grace: environment.refresh_grace(),
            },
            tokens: environment.token_issuer(),
            cookie_check: environment.cookie_check(),
        };
        environment.finish(app)
    }
}
