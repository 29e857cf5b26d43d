use std::time::Duration;

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use shared::auth::frontends::Frontends;
use shared::auth::oauth_providers::{OauthProvider, OauthProviders, ProviderKind};
use shared::config::Environment;
use shared::domain::email_address::EmailAddress;
use shared::domain::email_token::TokenHash;
use shared::domain::encryption::Sealed;
use shared::domain::grant_token::GrantToken;
use shared::domain::provider::{ExternalIdentity, ProviderTokens};
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

/// How long an answer may take: the time of the provider, and three requests to the table.
pub const DEADLINE: Duration = Duration::from_secs(9);
/// How long the provider may take for all requests.
const PROVIDER_TIME: Duration = Duration::from_secs(6);

/// What the provider has sent with the browser (OpenID Connect Core 1.0, 3.1.2.5 and 3.1.2.6).
struct Returned {
    state: Option<TokenHash>,
    code: Option<SecretString>,
    error: Option<String>,
    /// The provider in the path.
    provider: Option<String>,
    /// The issuer, from providers that name themselves (RFC 9207).
    issuer: Option<String>,
}

/// Sends the browser back to the front end, with a grant or an error in the fragment: fragments are in no server's log.
pub async fn callback(app: &App, request: Request) -> Result<Response, ApiError> {
    let now = request.received_at();
    let returned = Returned::of(&request);
    let begun = begun(app, &returned, now).await;
    let result = match &begun {
        Ok(begun) => exchange(app, begun, &returned, now).await,
        Err(failure) => Err(*failure),
    };
    let begun = begun.ok();
    let first = app.frontends.first();
    let frontend = begun.as_ref().map_or(first, |begun| &begun.frontend);
    let outcome = result.as_ref().map_or_else(Failure::code, |_| "success");
    telemetry::count("OauthCallbacks", &[("Outcome", outcome)]);
    let fragment = match &result {
        Ok(grant) => format!("grant={}", grant.expose()),
        Err(failure) => {
            let provider = begun.as_ref().map(|begun| begun.provider.as_str());
            tracing::warn!(provider, cause = failure.cause(), "no identity");
            format!("error={}", failure.code())
        }
    };
    Response::see_other(&format!("{frontend}/oauth#{fragment}"))
}

/// Finds the request of a state, and uses it up.
async fn begun(app: &App, returned: &Returned, now: Timestamp) -> Result<OauthRequest, Failure> {
    let state = returned.state.as_ref().ok_or(Failure::InvalidState)?;
    let begun = app.requests.take(state, now).await?;
    begun.ok_or(Failure::InvalidState)
}

/// Asks the provider, and stores what it says for the client that began. Returns the value with which that client gets
/// it.
async fn exchange(
    app: &App,
    begun: &OauthRequest,
    returned: &Returned,
    now: Timestamp,
) -> Result<GrantToken, Failure> {
    if let Some(error) = &returned.error {
        return Err(Failure::of_provider(error));
    }
    let provider = app.providers.find(&begun.provider);
    let provider = provider.ok_or(Failure::InvalidState)?; // it was removed from the configuration
    if returned.provider.as_deref() != Some(provider.name.as_str()) {
        return Err(Failure::Provider("another provider has sent the browser"));
    }
    let is_other = |issuer: &String| *issuer != provider.issuer;
    if provider.kind != ProviderKind::Microsoft && returned.issuer.as_ref().is_some_and(is_other) {
        return Err(Failure::Provider("another issuer has sent the browser"));
    }
    let code = returned.code.as_ref();
    let code = code.ok_or(Failure::Provider("it has sent no code"))?;
    let asked = identify(app, provider, code.expose_secret(), begun, now);
    let asked = tokio::time::timeout(PROVIDER_TIME, asked).await;
    let late = Failure::Unavailable("the provider does not answer in time");
    let (mut identity, tokens) = asked.map_err(|_| late)??;
    let domain = identity.email.as_ref().map(EmailAddress::domain);
    identity.email_verified &= domain.is_some_and(|domain| provider.may_verify(&domain));
    let grant = GrantToken::new(random::bytes());
    let sealed = match provider.keeps_tokens {
        true => Some(seal(&grant, &tokens)?),
        false => None,
    };
    let kept = OauthGrant::new(begun.request_token.clone(), identity, sealed, now);
    app.requests.create_grant(grant.hash(), &kept).await?;
    Ok(grant)
}

/// Encrypts the provider's tokens, so that only whoever brings the grant back can read them.
fn seal(grant: &GrantToken, tokens: &ProviderTokens) -> Result<Sealed, Failure> {
    let text = serde_json::to_vec(tokens);
    let text = text.map_err(|_| Failure::Provider("its tokens cannot be written"))?;
    Ok(grant.seal(&text, random::bytes()))
}

async fn identify(
    app: &App,
    provider: &OauthProvider,
    code: &str,
    begun: &OauthRequest,
    now: Timestamp,
) -> Result<(ExternalIdentity, ProviderTokens), Failure> {
    let secret = app.secrets.of(provider, now);
    let secret = secret.ok_or(Failure::Provider("its client secret cannot be made"))?;
    let (http, callback) = (&app.http, app.providers.callback_of(provider));
    let (client, answer) = ((provider, secret), (code, begun, callback.as_str()));
    match provider.kind {
        ProviderKind::Github => github::identify(http, client, answer).await,
        _ => app.openid.identify(http, client, (answer, now)).await,
    }
}

impl Returned {
    fn of(request: &Request) -> Self {
        let parameter = |name: &str| match *request.method() {
            Method::POST => request.form_parameter(name).ok(),
            _ => request.query_parameter(name).map(SecretString::from),
        };
        let text = |name: &str| parameter(name).map(|value| value.expose_secret().to_owned());
        let state = parameter("state");
        Self {
            state: state.and_then(|state| TokenHash::parse(state.expose_secret()).ok()),
            code: parameter("code"),
            error: text("error"),
            provider: request.path_parameter("provider").map(str::to_owned),
            issuer: text("iss"),
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
