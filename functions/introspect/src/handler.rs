use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::auth::authentication::{Authenticator, Caller};
use shared::config::Environment;
use shared::domain::service_client::ServiceClients;
use shared::domain::token;
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::{StartError, telemetry};

pub async fn introspect(app: &App, request: Request) -> Result<Response, ApiError> {
    let token = app.clients.token(&request)?;
    let token = token.expose_secret();
    let found = app.authenticator.by_token(token, request.received_at());
    let answer = match found.await {
        Ok(caller) => active(token, &caller)?,
        // Why a token is not valid is nothing that a service needs to know (RFC 7662, 2.2).
        Err(error) if error.status() == 401 => Introspection::default(),
        Err(error) => return Err(error),
    };
    let outcome = if answer.active { "active" } else { "inactive" };
    telemetry::count("Introspections", &[("Outcome", outcome)]);
    Ok(Response::document(answer))
}

/// Returns the token's claims, with the user's present role.
fn active(token: &str, caller: &Caller) -> Result<Introspection, ApiError> {
    let claims = token::claims_of_verified(token);
    let mut claims = claims.ok_or_else(|| ApiError::Internal("a token without claims".into()))?;
    claims.insert("role".to_owned(), json!(caller.user.role));
    claims.insert("token_type".to_owned(), json!("Bearer"));
    if let Some(username) = &caller.user.username {
        claims.insert("username".to_owned(), json!(username.as_str()));
    }
    Ok(Introspection {
        active: true,
        claims,
    })
}

/// RFC 7662, 2.2.
#[derive(Default, Serialize)]
struct Introspection {
    active: bool,
    #[serde(flatten)]
    claims: Map<String, Value>,
}

/// The endpoint's dependencies.
pub struct App {
    clients: ServiceClients,
    authenticator: Authenticator,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            clients: ServiceClients::from_env(&mut environment),
            authenticator: Authenticator::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
