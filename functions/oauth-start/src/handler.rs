use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::ExposeSecret;
use shared::StartError;
use shared::api::oauth_start::{OauthStartAnswer, OauthStartRequest};
use shared::auth::frontends::Frontends;
use shared::auth::oauth_providers::{OauthProvider, OauthProviders, ProviderKind};
use shared::config::Environment;
use shared::domain::email_token;
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::random;
use shared::serve::{Endpoint, PublicGuard};
use shared::store::oauth_requests::{LIFETIME, OauthRequest, OauthRequests};
use url::Url;

const LIMIT: Endpoint = Endpoint::per_client("OAUTH_START", "60/15m");

/// Stores the request, and returns the provider's page. Three random values belong together from now on: the state, which
/// the browser brings back; the nonce, which the provider's answer repeats; and the value that the client keeps, so that
/// the result works in this browser alone.
pub async fn start(app: &App, request: Request) -> Result<Response, ApiError> {
    let now = request.received_at();
    let body: OauthStartRequest = request.json()?;
    let name = body.provider.into_inner();
    let provider = app.providers.find(&name).ok_or(ApiError::NotFound)?;
    let (state, state_hash) = email_token::of_random(random::bytes());
    let (request_token, kept) = email_token::of_random(random::bytes());
    let (nonce, verifier) = (random_text(), random_text());
    let page = authorization_url(
        provider,
        &app.providers.callback_of(provider),
        [state.expose_secret(), &nonce, &verifier],
    );
    let frontend = app.frontends.of(request.client().origin.as_deref());
    let begun = OauthRequest::new(name, (nonce, verifier), kept, frontend.to_owned(), now);
    app.requests.begin(&state_hash, &begun).await?;
    let answer = OauthStartAnswer {
        authorization_url: page.into(),
        request_token,
        expires_in: LIFETIME.as_secs(),
    };
    Ok(Response::ok("Open the provider's page.", answer))
}

/// Returns 256 random bits.
fn random_text() -> String {
    hex::encode(random::bytes::<32>())
}

/// Returns the provider's page (OpenID Connect Core 1.0, 3.1.2.1) with PKCE (RFC 7636, 4.3).
fn authorization_url(
    provider: &OauthProvider,
    callback: &str,
    [state, nonce, verifier]: [&str; 3],
) -> Url {
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
    let mut page = provider.authorization_endpoint.clone();
    let mut query = page.query_pairs_mut();
    query
        .append_pair("response_type", "code")
        .append_pair("client_id", &provider.client_id)
        .append_pair("redirect_uri", callback)
        .append_pair("scope", &provider.scopes)
        .append_pair("state", state)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    match provider.kind {
        ProviderKind::Github => &mut query,
        // Apple sends an address only in a form.
        ProviderKind::Apple => query
            .append_pair("nonce", nonce)
            .append_pair("response_mode", "form_post"),
        _ => query.append_pair("nonce", nonce),
    };
    drop(query);
    page
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: PublicGuard,
    providers: OauthProviders,
    frontends: Frontends,
    requests: OauthRequests,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: PublicGuard::public(&mut environment, LIMIT),
            providers: OauthProviders::from_env(&mut environment),
            frontends: Frontends::from_env(&mut environment),
            requests: OauthRequests::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
