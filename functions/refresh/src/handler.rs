use shared::StartError;
use shared::config::Environment;
use shared::domain::secret::Secret;
use shared::domain::session::RotationPolicy;
use shared::domain::token::{RefreshClaims, RefreshTokenVerifier, TokenError};
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::cookie_mode::{CookieCheck, Transport};
use shared::http::guard::{Endpoint, Guard};
use shared::http::token_issuer::TokenIssuer;
use shared::http::{Request, Response, refresh_token};
use shared::store::audit::{Audit, Event, Outcome};
use shared::store::sessions::{Rotated, Rotation, Sessions};
use shared::store::users::Users;
use shared::telemetry;

pub async fn refresh(app: &App, request: Request) -> Result<Response, ApiError> {
    let result = exchange(app, &request).await;
    let outcome = result.as_ref().map_or_else(ApiError::code, |_| "success");
    telemetry::count("Refreshes", &[("Outcome", outcome)]);
    result
}

async fn exchange(app: &App, request: &Request) -> Result<Response, ApiError> {
    let now = request.received_at();
    let (claims, transport) = presented(app, request)?;

    // Together: the answer of one does not change what is asked of the other. Both to the end: a
    // rotation whose user cannot be read is taken back.
    let (id, counter, origin) = (claims.sid, claims.counter, request.origin());
    let (rotation, user) = tokio::join!(
        app.sessions
            .rotate(id, claims.sub, counter, &app.policy, origin),
        app.users.find(claims.sub, now),
    );
    let (rotation, user) = match (rotation, user) {
        (Ok(rotation), Ok(user)) => (rotation, user),
        (rotation, user) => {
            if let Ok(Rotation::Rotated(rotated)) = rotation {
                undo(app, &rotated).await;
            }
            rotation?;
            user?;
            unreachable!("one of the two has failed")
        }
    };
    let Some(user) = user.filter(User::is_active) else {
        app.sessions.revoke_all(claims.sub).await?;
        return Err(ApiError::RefreshTokenInvalid);
    };
    match rotation {
        // For both the same token: whoever lost the answer, or asked twice, gets the one successor.
        Rotation::Rotated(Rotated { session, .. }) | Rotation::Repeated(session) => {
            let tokens = app.tokens.issue(&session, user.role, transport, now);
            let response = Response::ok("The tokens were renewed.", tokens.body);
            Ok(response.with_cookies(tokens.cookies))
        }
        Rotation::Gone => Err(ApiError::RefreshTokenInvalid),
        Rotation::Reused => {
            telemetry::count("RefreshTokenReuse", &[]);
            let (event, outcome) = (Event::RefreshTokenReuse, Outcome::Failure);
            app.audit.record(user.id, event, outcome, origin).await?;
            Err(ApiError::RefreshTokenReused)
        }
    }
}

/// The refresh token, and how its successor is to be sent. A token in the body goes before one in a
/// cookie, which needs proof that a page of ours has sent it.
fn presented(app: &App, request: &Request) -> Result<(RefreshClaims, Transport), ApiError> {
    let in_cookie = refresh_token::in_cookie(request);
    let in_body = request.parse_optional(|fields| {
        let token = |text: &str| Ok::<_, &str>(Secret::new(text.to_owned()));
        match in_cookie {
            Some(_) => fields.optional("refreshToken", token),
            None => fields.required("refreshToken", token).map(Some),
        }
    })?;
    let verify = |token: &Secret| {
        let verified = app.verifier.verify(token.expose(), request.received_at());
        verified.map_err(|error| match error {
            TokenError::Invalid => ApiError::RefreshTokenInvalid,
            TokenError::Expired => ApiError::RefreshTokenExpired,
        })
    };
    match (in_body, in_cookie) {
        (None, Some(token)) => {
            app.cookie_check.origin(request)?;
            let claims = verify(&token)?;
            app.cookie_check.csrf_token(request, claims.sid)?;
            Ok((claims, Transport::Cookies))
        }
        (token, _) => {
            let token = token.unwrap_or_default(); // it was required
            Ok((verify(&token)?, Transport::asked_for(request)))
        }
    }
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
    users: Users,
    audit: Audit,
    sessions: Sessions,
    policy: RotationPolicy,
    verifier: RefreshTokenVerifier,
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
            audit: Audit::new(dynamodb, users_table),
            sessions: environment.sessions(),
            policy: RotationPolicy {
                idle: environment.refresh_expiry(),
                idle_remembered: environment.remember_me_expiry(),
                grace: environment.refresh_grace(),
            },
            verifier: environment.refresh_token_verifier(),
            tokens: environment.token_issuer(),
            cookie_check: environment.cookie_check(),
        };
        environment.finish(app)
    }
}
