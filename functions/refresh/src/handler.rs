use shared::StartError;
use shared::config::Environment;
use shared::domain::secret::Secret;
use shared::domain::session::{RotationPolicy, Session};
use shared::domain::token::{RefreshTokenVerifier, TokenError};
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::token_issuer::TokenIssuer;
use shared::http::{Request, Response};
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
    let token = |text: &str| Ok::<_, &str>(Secret::new(text.to_owned()));
    let token = request.parse(|fields| fields.required("refreshToken", token))?;
    let now = request.received_at();
    let verified = app.verifier.verify(token.expose(), now);
    let claims = verified.map_err(|error| match error {
        TokenError::Invalid => ApiError::RefreshTokenInvalid,
        TokenError::Expired => ApiError::RefreshTokenExpired,
    })?;

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
        Rotation::Rotated(Rotated { session, .. }) => Ok(renewed(app, &session, &user, request)),
        Rotation::Repeated(session) => Ok(renewed(app, &session, &user, request)),
        Rotation::Gone => Err(ApiError::RefreshTokenInvalid),
        Rotation::Reused => {
            telemetry::count("RefreshTokenReuse", &[]);
            let (event, outcome) = (Event::RefreshTokenReuse, Outcome::Failure);
            app.audit.record(user.id, event, outcome, origin).await?;
            Err(ApiError::RefreshTokenReused)
        }
    }
}

fn renewed(app: &App, session: &Session, user: &User, request: &Request) -> Response {
    let tokens = app.tokens.issue(session, user.role, request.received_at());
    Response::ok("The tokens were renewed.", tokens)
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
    users: Users,
    audit: Audit,
    sessions: Sessions,
    policy: RotationPolicy,
    verifier: RefreshTokenVerifier,
    tokens: TokenIssuer,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let dynamodb = environment.dynamodb();
        let users_table = environment.text("USERS_TABLE");
        let app = Self {
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
        };
        environment.finish(app)
    }
}
