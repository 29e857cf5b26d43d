use shared::StartError;
use shared::api::Field;
use shared::api::oauth_link::{OauthLinkAnswer, OauthLinkRequest};
use shared::api::profile::Identity;
use shared::auth::authentication::Caller;
use shared::auth::identity_links::{IdentityLinks, NewLink};
use shared::auth::provider_tokens::ProviderTokenCipher;
use shared::auth::reauthentication::Reauthentication;
use shared::config::Environment;
use shared::domain::provider::ProviderName;
use shared::domain::rule::rule;
use shared::domain::user::LinkedIdentity;
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::serve::{AuthenticatedGuard, Endpoint};
use shared::store::audit::Event;
use shared::store::oauth_requests::OauthRequests;
use shared::store::users::Users;

pub async fn link(app: &App, caller: Caller, request: Request) -> Result<Response, ApiError> {
    let linked = link_identity(app, &caller, &request).await;
    // A caller whose grant is not valid stays signed in.
    linked.map_err(|error| match error {
        ApiError::OauthGrantInvalid => invalid_grant(),
        error => error.for_signed_in(),
    })
}

/// Links the identity. It takes a recent sign-in or the password (ASVS 5.0, 7.5.1); the second factor stays required at
/// each sign-in. The address must be proven: a stranger who registered it must not keep a way in once its owner has
/// proven it.
async fn link_identity(
    app: &App,
    caller: &Caller,
    request: &Request,
) -> Result<Response, ApiError> {
    let (user, client, now) = (&caller.user, request.client(), request.received_at());
    let body: OauthLinkRequest = request.json()?;
    if !user.email_verified {
        return Err(ApiError::EmailNotVerified);
    }
    let password = body.password.map(Field::into_inner);
    let check = app
        .reauthentication
        .check(caller, password.as_ref(), Event::OauthLink, client);
    check.await?;
    let (token, kept) = (body.grant.into_inner(), body.request_token.into_inner());
    let grant = app.requests.find_grant(token.hash(), &kept, now).await?;
    let grant = grant.ok_or(ApiError::OauthGrantInvalid)?;
    let identity = &grant.identity;
    if let Some((provider, linked)) = user.identity(identity) {
        return Ok(answer(provider, linked)); // it is the caller's already
    }
    let tokens = app.provider_tokens.of_grant(&token, &grant, user.id)?;
    let new = NewLink {
        is_of_new_account: false,
        grant: Some(&app.requests.use_grant(token.hash())),
        tokens: tokens.as_ref(),
    };
    let reread = || caller.reread(&app.users, now);
    let link = app.links.link(user.clone(), identity, new, reread, client);
    let user = link.await?;
    let (provider, linked) = user.identity(identity).ok_or(ApiError::OauthGrantInvalid)?;
    Ok(answer(provider, linked))
}

fn answer(provider: &ProviderName, linked: &LinkedIdentity) -> Response {
    let identity = Identity::new(provider, linked);
    Response::ok("The identity is linked.", OauthLinkAnswer { identity })
}

fn invalid_grant() -> ApiError {
    let message = "was used, has expired, or belongs to another browser";
    ApiError::invalid("grant", rule("invalid_grant", message))
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: AuthenticatedGuard,
    requests: OauthRequests,
    links: IdentityLinks,
    users: Users,
    reauthentication: Reauthentication,
    provider_tokens: ProviderTokenCipher,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: AuthenticatedGuard::from_env(&mut environment, Some(Endpoint::OAUTH_LINKS)),
            requests: OauthRequests::from_env(&mut environment),
            links: IdentityLinks::from_env(&mut environment),
            users: Users::from_env(&mut environment),
            reauthentication: Reauthentication::from_env(&mut environment),
            provider_tokens: ProviderTokenCipher::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
