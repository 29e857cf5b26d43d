use shared::StartError;
use shared::api::refresh::CsrfTokenAnswer;
use shared::auth::refresh_token::{PresentedRefreshToken, Source};
use shared::auth::token_issuer::TokenIssuer;
use shared::config::Environment;
use shared::domain::client_info::ClientInfo;
use shared::domain::session::RotationPolicy;
use shared::domain::token::RefreshClaims;
use shared::domain::user::UserId;
use shared::error::ApiError;
use shared::http::cookie_mode::{CsrfProtection, TokenDelivery};
use shared::http::{Request, Response};
use shared::serve::{Endpoint, PendingLimits, RefreshTokenGuard};
use shared::store::audit::{Audit, Event, Outcome};
use shared::store::dynamodb::{Collision, Write};
use shared::store::outbox::{Kind, Links, Outbox};
use shared::store::sessions::{Repetition, Rotated, Rotation, Sessions};
use shared::store::users::Users;
use shared::telemetry;

const LIMIT: Endpoint = Endpoint::per_caller("REFRESH", "30/15m");

pub async fn refresh(
    app: &App,
    token: PresentedRefreshToken,
    request: Request,
    limits: PendingLimits,
) -> Result<Response, ApiError> {
    if request.is_to("POST /api/auth/csrf-token") {
        return csrf_token(app, token, &request, limits).await;
    }
    let result = exchange(app, token, &request, limits).await;
    let outcome = result.as_ref().map_or_else(ApiError::code, |_| "success");
    telemetry::count("Refreshes", &[("Outcome", outcome)]);
    result
}

async fn exchange(
    app: &App,
    token: PresentedRefreshToken,
    request: &Request,
    limits: PendingLimits,
) -> Result<Response, ApiError> {
    let now = request.received_at();
    let (claims, delivery) = accept(app, token, request)?;

    // All three at once: none depends on the answer of another. All run to the end: a rotation beyond the rate limit,
    // or whose user cannot be read, is taken back.
    let (id, counter, client) = (claims.sid, claims.counter, request.client());
    let (charged, rotation, user) = tokio::join!(
        limits.charge(),
        app.sessions
            .rotate(id, claims.sub, counter, &app.policy, client),
        app.users.find_token_subject(claims.sub, now),
    );
    let (rotation, user) = match (charged, rotation, user) {
        (Ok(()), Ok(rotation), Ok(user)) => (rotation, user),
        (charged, rotation, user) => {
            match &rotation {
                Ok(Rotation::Rotated(rotated, _)) => undo(app, rotated).await,
                // The reuse has ended the session, whatever the client is told.
                Ok(Rotation::Reused) => record_reuse(app, claims.sub, client).await?,
                _ => {}
            }
            charged?;
            rotation?;
            user?;
            unreachable!("one of the three has failed")
        }
    };
    let Some(user) = user.filter(|user| user.account.status.is_active()) else {
        app.sessions.revoke_all(claims.sub).await?;
        return Err(ApiError::RefreshTokenInvalid);
    };
    // Rotated and repeated requests get the same token: a client that lost the answer, or asked twice, gets one
    // successor.
    let (session, epoch, repetition, rotated) = match rotation {
        Rotation::Rotated(rotated, epoch) => {
            (rotated.session, epoch, Repetition::Same, Some(rotated))
        }
        Rotation::Repeated(session, epoch, repetition) => (session, epoch, repetition, None),
        Rotation::Ended => return Err(ApiError::RefreshTokenInvalid),
        Rotation::Reused => {
            record_reuse(app, claims.sub, client).await?;
            return Err(ApiError::RefreshTokenReused);
        }
    };
    // A new password or second factor has ended the session: only the user's record says so.
    if !user.account.allows_session(id, epoch) {
        app.sessions.revoke(id, claims.sub).await?;
        return Err(ApiError::RefreshTokenInvalid);
    }
    if let Repetition::Elsewhere { is_first } = repetition {
        record_repetition(app, claims.sub, is_first, client).await?;
    }
    let issued = app
        .tokens
        .issue(&session, user.account.role, &user.claims, delivery, now);
    let tokens = match (issued.await, rotated) {
        (Err(error), Some(rotated)) => {
            undo(app, &rotated).await;
            return Err(error.into());
        }
        (issued, _) => issued?,
    };
    let response = Response::ok("The tokens were renewed.", tokens.body);
    Ok(response.with_cookies(tokens.cookies))
}

/// Records that a successor was requested again from another client: by a client on the move that has lost the answer,
/// or by an attacker with a copy of the token. The owner gets one mail per session.
async fn record_repetition(
    app: &App,
    id: UserId,
    is_first: bool,
    client: &ClientInfo,
) -> Result<(), ApiError> {
    telemetry::count("RefreshTokenRepeated", &[]);
    let events = [Event::RefreshTokenRepeated];
    let user = match is_first {
        true => app.users.find(id, client.received_at).await?,
        false => None,
    };
    let Some(user) = user else {
        let recorded = app.audit.record(id, events[0], Outcome::Success, client);
        return Ok(recorded.await?);
    };
    let kind = Kind::SessionUsedElsewhere;
    let mail = app.outbox.create(kind, &user, &Links::none(), client);
    let writes = vec![Write::new(mail, Collision)];
    let committed = app.audit.commit(id, &events, client, writes, Collision);
    Ok(committed.await?)
}

/// Returns the session's CSRF token to a page that has lost it. The cookie identifies the session, and the origin shows
/// that the page is an allowed one; a browser neither sends the cookie with requests of other sites nor shows the
/// answer to other origins.
async fn csrf_token(
    app: &App,
    token: PresentedRefreshToken,
    request: &Request,
    limits: PendingLimits,
) -> Result<Response, ApiError> {
    limits.charge().await?;
    let Source::Cookie = token.source? else {
        return Err(ApiError::MissingToken);
    };
    app.csrf_protection.origin(request)?;
    let csrf_token = app.tokens.csrf.token(token.claims?.sid);
    Ok(Response::ok(
        "The CSRF token of the session.",
        CsrfTokenAnswer { csrf_token },
    ))
}

async fn record_reuse(app: &App, id: UserId, client: &ClientInfo) -> Result<(), ApiError> {
    telemetry::count("RefreshTokenReuse", &[]);
    let (event, outcome) = (Event::RefreshTokenReuse, Outcome::Failure);
    let recorded = app.audit.record(id, event, outcome, client);
    Ok(recorded.await?)
}

/// Returns the claims of the refresh token and the delivery of its successor. A cookie needs proof that an allowed page
/// has sent it.
fn accept(
    app: &App,
    token: PresentedRefreshToken,
    request: &Request,
) -> Result<(RefreshClaims, TokenDelivery), ApiError> {
    if let Source::Body = token.source? {
        return Ok((token.claims?, TokenDelivery::requested_by(request)?));
    }
    TokenDelivery::requested_by(request)?;
    app.csrf_protection.origin(request)?;
    let claims = token.claims?;
    app.csrf_protection.csrf_token(request, claims.sid)?;
    Ok((claims, TokenDelivery::Cookies))
}

/// Takes a rotation back. Without this, after an outage longer than the grace period, the client's next try would look
/// like the use of a stolen token. Best effort: within the grace period the client is served anyway.
async fn undo(app: &App, rotated: &Rotated) {
    if let Err(error) = app.sessions.undo(rotated).await {
        tracing::error!(cause = %error, "a rotation was not taken back");
    }
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: RefreshTokenGuard,
    users: Users,
    outbox: Outbox,
    audit: Audit,
    sessions: Sessions,
    policy: RotationPolicy,
    tokens: TokenIssuer,
    csrf_protection: CsrfProtection,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: RefreshTokenGuard::for_refresh(&mut environment, LIMIT),
            users: Users::from_env(&mut environment),
            outbox: Outbox::from_env(&mut environment),
            audit: Audit::from_env(&mut environment),
            sessions: Sessions::from_env(&mut environment),
            policy: RotationPolicy::from_env(&mut environment),
            tokens: TokenIssuer::from_env(&mut environment),
            csrf_protection: CsrfProtection::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
