use shared::StartError;
use shared::api::oauth_tokens::OauthTokensAnswer;
use shared::auth::authentication::Caller;
use shared::auth::provider_tokens::ProviderTokenCipher;
use shared::config::Environment;
use shared::domain::provider::ProviderName;
use shared::domain::rule::Parse;
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::serve::{AuthenticatedGuard, Endpoint};
use shared::store::identities::Identities;

/// Returns the tokens of the caller's identity. Without kept tokens, or without the identity, there is nothing.
pub async fn tokens(app: &App, caller: Caller, request: Request) -> Result<Response, ApiError> {
    let (user, now) = (&caller.user, request.received_at());
    let name = request.path_parameter("provider").unwrap_or_default();
    let name = ProviderName::parse(name).map_err(|_| ApiError::NotFound)?;
    let identity = user.identities.get(&name).ok_or(ApiError::NotFound)?;
    let id = identity.id();
    let link = app.identities.find(&id, now).await?;
    let sealed = link.filter(|link| link.user_id == user.id);
    let sealed = sealed
        .and_then(|link| link.tokens)
        .ok_or(ApiError::NotFound)?;
    let provider_tokens = app.cipher.open(&sealed, &id, user.id)?.into();
    let answer = OauthTokensAnswer { provider_tokens };
    Ok(Response::ok("The provider's tokens.", answer))
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: AuthenticatedGuard,
    identities: Identities,
    cipher: ProviderTokenCipher,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: AuthenticatedGuard::from_env(&mut environment, Some(Endpoint::OAUTH_LINKS)),
            identities: Identities::from_env(&mut environment),
            cipher: ProviderTokenCipher::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
