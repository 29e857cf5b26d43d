use serde::Serialize;
use shared::StartError;
use shared::auth::tokens::public_keys;
use shared::config::Environment;
use shared::domain::token::PublicKeys;
use shared::error::ApiError;
use shared::http::{Request, Response};
use url::Url;

pub fn jwks(app: &App, request: &Request) -> Result<Response, ApiError> {
    match request.is_to("GET /.well-known/openid-configuration") {
        true => discovery(app),
        false => Ok(Response::public_document(&app.keys)),
    }
}

/// Returns the metadata. There is none where the issuer is no URL: a service looks for it beneath the issuer.
fn discovery(app: &App) -> Result<Response, ApiError> {
    let issuer = app.issuer.as_str();
    let base = issuer.trim_end_matches('/');
    Url::parse(issuer).map_err(|_| ApiError::NotFound)?;
    Ok(Response::public_document(Metadata {
        issuer,
        jwks_uri: format!("{base}/.well-known/jwks.json"),
        introspection_endpoint: format!("{base}/api/auth/introspect"),
        introspection_endpoint_auth_methods_supported: BASIC,
        revocation_endpoint: format!("{base}/api/auth/revoke"),
        revocation_endpoint_auth_methods_supported: BASIC,
        response_types_supported: [],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: app.keys.algorithms(),
    }))
}

/// How services show who they are.
const BASIC: [&str; 1] = ["client_secret_basic"];

/// OpenID Connect Discovery 1.0, 3, and RFC 8414, 2. There is no authorization endpoint, and there are no ID tokens: this document only
/// leads to the keys.
#[derive(Serialize)]
struct Metadata<'a> {
    issuer: &'a str,
    jwks_uri: String,
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: [&'static str; 1],
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: [&'static str; 1],
    response_types_supported: [&'static str; 0],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: Vec<String>,
}

/// The endpoint's dependencies.
pub struct App {
    /// No keys where access tokens are signed with `JWT_SECRET`.
    keys: PublicKeys,
    issuer: String,
}

impl App {
    /// Reads `JWT_PUBLIC_KEYS` and `JWT_ISSUER`.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            keys: public_keys(&mut environment).unwrap_or_default(),
            issuer: environment.text("JWT_ISSUER"),
        };
        environment.finish(app)
    }
}
