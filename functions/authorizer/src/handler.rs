use lambda_runtime::Context as Invocation;
use serde_json::json;
use shared::auth::authentication::{Authenticator, Caller};
use shared::config::Environment;
use shared::domain::custom_claims::CustomClaims;
use shared::domain::user::Role;
use shared::error::ApiError;
use shared::{StartError, clock, serve, telemetry};
use tokio::time::timeout;

use crate::event::{Answer, Context, Event};

/// Whom the alias lets through by which the function was invoked.
#[derive(Clone, Copy)]
enum Access {
    /// Signed-in users: the alias `live`.
    Required,
    /// Also requests without a token, but none with an invalid one: the alias `optional`.
    Optional,
    /// Admins: the alias `admin`.
    Admin,
}

impl Access {
    fn of_arn(arn: &str) -> Self {
        match arn.rsplit(':').next() {
            Some("optional") => Self::Optional,
            Some("admin") => Self::Admin,
            _ => Self::Required,
        }
    }
}

/// Answers whether a request may pass. A store that fails lets nobody pass, and is logged.
pub async fn authorize(app: &App, event: Event, invocation: Invocation) -> Result<Answer, String> {
    if !event.is_of_authorizer() {
        return Err("no event of an authorizer".to_owned());
    }
    let access = Access::of_arn(&invocation.invoked_function_arn);
    let deciding = timeout(serve::DEADLINE, decide(app, access, event.authorization()));
    let decision = deciding.await.unwrap_or_else(|_| {
        let cause = "no answer in time".into();
        Err(ApiError::ServiceUnavailable(cause))
    });
    let outcome = decision.as_ref().map_or_else(ApiError::code, |_| "ok");
    telemetry::count("Authorizations", &[("Outcome", outcome)]);
    if let Err(error) = &decision {
        match error.cause() {
            Some(cause) => tracing::error!(cause = %cause, outcome, "nobody is let through"),
            None => tracing::info!(outcome, "a request is not let through"),
        }
    }
    let is_authorized = decision.is_ok();
    let caller = decision.ok().flatten();
    Ok(event.answer(is_authorized, caller.map(context).unwrap_or_default()))
}

/// Returns the caller, or `None` for a request that needs none.
async fn decide(
    app: &App,
    access: Access,
    authorization: Option<&str>,
) -> Result<Option<Caller>, ApiError> {
    let caller = app.authenticator.by_header(authorization, clock::now());
    match (access, caller.await?) {
        (Access::Optional, caller) => Ok(caller),
        (_, None) => Err(ApiError::MissingToken),
        (Access::Required, Some(caller)) => Ok(Some(caller)),
        (Access::Admin, Some(caller)) => {
            caller.require_role(Role::Admin)?;
            Ok(Some(caller))
        }
    }
}

/// Describes the caller: role and claims as the user's record has them now, the sign-in as the token has it.
fn context(caller: Caller) -> Context {
    let claims = match &caller.user.claims {
        CustomClaims::Valid(claims) => json!(claims),
        CustomClaims::Invalid => json!({}),
    };
    let fields = [
        ("userId", json!(caller.user.id)),
        ("role", json!(caller.user.role)),
        ("sid", json!(caller.session_id)),
        ("authTime", json!(caller.claims.auth_time)),
        ("amr", json!(caller.claims.amr.join(" "))),
        ("claims", claims),
    ];
    Context(
        fields
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect(),
    )
}

/// The function's dependencies.
pub struct App {
    authenticator: Authenticator,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            authenticator: Authenticator::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
