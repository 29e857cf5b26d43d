use std::time::Duration;

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use shared::auth::frontends::Frontends;
use shared::auth::oauth_providers::{OauthProvider, OauthProviders, ProviderKind};
use shared::config::Environment;
use shared::domain::email_token::{self, TokenHash};
use shared::domain::provider::ExternalIdentity;
use shared::domain::rule::Parse;
use shared::domain::timestamp::Timestamp;
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::store::oauth_requests::{OauthGrant, OauthRequest, OauthRequests};
use shared::{StartError, random, telemetry};

use crate::client_secrets::ClientSecrets;
use crate::failure::Failure;
use crate::github;
use crate::http_client::HttpClient;
use crate::openid::OpenId;

/// How long an answer may take: three requests to a provider and three to the table.
pub const DEADLINE: Duration = Duration::from_secs(9);
/// How long the provider may take for all requests.
const PROVIDER_TIME: Duration = Duration::from_secs(6);

/// What the provider has sent with the browser (OpenID Connect Core 1.0, 3.1.2.5 and 3.1.2.6).
struct Returned {
    state: Option<TokenHash>,
    code: Option<SecretString>,
    is_error: bool,
    /// The issuer, from providers that name themselves (RFC 9207).
    issuer: Option<String>,
}

/// Sends the browser back to the front end, with a grant or an error in the fragment: fragments are in no server's log.
pub async fn callback(app: &App, request: Request) -> Result<Response, ApiError> {
    let now = request.received_at();
    let returned = Returned::of(&request);
    let begun = match &returned.state {
        Some(state) => app.requests.take(state, now).await?,
        None => None,
    };
    let frontend = begun
        .as_ref()
        .map_or(app.frontends.first(), |begun| &begun.frontend);
    let result = match &begun {
        Some(begun) => exchange(app, begun, &returned, now).await,
        None => Err(Failure::InvalidState),
    };
    let outcome = result.as_ref().map_or_else(Failure::code, |_| "success");
    telemetry::count("OauthCallbacks", &[("Outcome", outcome)]);
    let fragment = match &result {
        Ok(grant) => format!("grant={}", grant.expose_secret()),
        Err(failure) => {
            let provider = begun.as_ref().map(|begun| begun.provider.as_str());
            tracing::warn!(provider, cause = failure.cause(), "no identity");
            format!("error={}", failure.code())
        }
    };
    Response::see_other(&format!("{frontend}/oauth#{fragment}"))
}

/// Asks the provider, and stores what it says for the client that began. Returns the value with which that client gets
/// it.
async fn exchange(
    app: &App,
    begun: &OauthRequest,
    returned: &Returned,
    now: Timestamp,
) -> Result<SecretString, Failure> {
    if returned.is_error {
        return Err(Failure::AccessDenied);
    }
    let provider = app.providers.find(&begun.provider);
    let provider = provider.ok_or(Failure::InvalidState)?; // it was removed from the configuration
    let is_other = |issuer: &String| *issuer != provider.issuer;
    if provider.kind != ProviderKind::Microsoft && returned.issuer.as_ref().is_some_and(is_other) {
        return Err(Failure::Provider("another issuer has sent the browser"));
    }
    let code = returned.code.as_ref();
    let code = code.ok_or(Failure::Provider("it has sent no code"))?;
    let asked = identify(app, provider, code.expose_secret(), begun, now);
    let asked = tokio::time::timeout(PROVIDER_TIME, asked).await;
    let late = Failure::Unavailable("the provider does not answer in time");
    let identity = asked.map_err(|_| late)??;
    let (grant, hash) = email_token::of_random(random::bytes());
    let kept = OauthGrant::new(begun.request_token.clone(), identity, now);
    app.requests.create_grant(&hash, &kept).await?;
    Ok(grant)
}

async fn identify(
    app: &App,
    provider: &OauthProvider,
    code: &str,
    begun: &OauthRequest,
    now: Timestamp,
) -> Result<ExternalIdentity, Failure> {
    let secret = app.secrets.of(provider, now);
    let secret = secret.ok_or(Failure::Provider("its client secret cannot be made"))?;
    let (http, callback) = (&app.http, app.providers.callback_url.as_str());
    let (client, answer) = ((provider, secret), (code, begun, callback));
    match provider.kind {
        ProviderKind::Github => github::identify(http, client, answer).await,
        _ => app.openid.identify(http, client, answer).await,
    }
}

impl Returned {
    fn of(request: &Request) -> Self {
        let parameter = |name: &str| match *request.method() {
            Method::POST => request.form_parameter(name).ok(),
            _ => request.query_parameter(name).map(SecretString::from),
        };
        let state = parameter("state");
        Self {
            state: state.and_then(|state| TokenHash::parse(state.expose_secret()).ok()),
            code: parameter("code"),
            is_error: parameter("error").is_some(),
            issuer: parameter("iss").map(|issuer| issuer.expose_secret().to_owned()),
        }
    }
}

/// The endpoint's dependencies.
pub struct App {
    providers: OauthProviders,
    secrets: ClientSecrets,
    frontends: Frontends,
    requests: OauthRequests,
    http: HttpClient,
    openid: OpenId,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let providers = OauthProviders::from_env(&mut environment);
        let is_https_only = environment.is_production();
        let app = Self {
            secrets: ClientSecrets::from_env(&mut environment, &providers),
            providers,
            frontends: Frontends::from_env(&mut environment),
            requests: OauthRequests::from_env(&mut environment),
            http: HttpClient::new(is_https_only).map_err(StartError::new)?,
            openid: OpenId::default(),
        };
        environment.finish(app)
    }
}
