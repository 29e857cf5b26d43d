use shared::StartError;
use shared::api::oauth_login::OauthLoginRequest;
use shared::api::{Field, SignedIn};
use shared::auth::failures::Failures;
use shared::auth::identity_links::{IdentityLinks, NewLink};
use shared::auth::proven_owners::{ProvenOwner, ProvenOwners};
use shared::auth::provider_tokens::ProviderTokenCipher;
use shared::auth::reauthentication::record_failure;
use shared::auth::sign_in::{Proof, Refused, SignIn};
use shared::auth::two_factor::{TwoFactor, VerifiedCode};
use shared::config::Environment;
use shared::domain::client_info::ClientInfo;
use shared::domain::code::Code;
use shared::domain::encryption::Sealed;
use shared::domain::grant_token::GrantToken;
use shared::domain::provider::ExternalIdentity;
use shared::domain::session::AuthenticationMethods;
use shared::domain::user::{UsedMethod, User};
use shared::error::ApiError;
use shared::http::cookie_mode::TokenDelivery;
use shared::http::{Request, Response};
use shared::serve::{Endpoint, PublicGuard, RequestLimits};
use shared::store::audit::Event;
use shared::store::dynamodb::Write;
use shared::store::oauth_requests::{OauthGrant, OauthRequests};
use shared::telemetry;

const LIMIT: Endpoint = Endpoint::per_client("OAUTH_LOGIN", "5/15m").of_failures();
const EVENT: Event = Event::OauthLogin;

/// A valid request.
struct Exchange {
    token: GrantToken,
    grant: OauthGrant,
    second_factor: Option<Code>,
    is_remembered: bool,
    delivery: TokenDelivery,
}

pub async fn login(
    app: &App,
    request: Request,
    limits: RequestLimits,
) -> Result<Response, ApiError> {
    let result = exchange(app, &request, &limits).await;
    limits.settle(&result).await;
    let outcome = result.as_ref().map_or_else(ApiError::code, |_| "success");
    telemetry::count("OauthLogins", &[("Outcome", outcome)]);
    result
}

async fn exchange(
    app: &App,
    request: &Request,
    limits: &RequestLimits,
) -> Result<Response, ApiError> {
    let (now, client) = (request.received_at(), request.client());
    let delivery = TokenDelivery::requested_by(request)?;
    let body: OauthLoginRequest = request.json()?;
    let (token, kept) = (body.grant.into_inner(), body.request_token.into_inner());
    let Some(grant) = app.requests.find_grant(token.hash(), &kept, now).await? else {
        record_failure(&app.owners.accounts.audit, None, EVENT, false, client).await?;
        return Err(ApiError::OauthGrantInvalid);
    };
    let exchange = Exchange {
        token,
        grant,
        second_factor: body.two_factor_token.map(Field::into_inner),
        is_remembered: body.remember_me.is_some_and(Field::into_inner),
        delivery,
    };
    let known = owner(app, &exchange.grant.identity, request).await?;
    sign_in(app, known, &exchange, (request, limits)).await
}

/// Returns the user with this identity, and whether it is linked yet. The identity decides; the address counts only if no
/// account has the identity, and if the provider has verified it.
async fn owner(
    app: &App,
    identity: &ExternalIdentity,
    request: &Request,
) -> Result<(ProvenOwner, bool), ApiError> {
    let (now, users) = (request.received_at(), &app.owners.accounts.users);
    let id = identity.id();
    let link = app.links.identities.find(&id, now);
    if let Some(link) = link.await? {
        let user = users.find(link.user_id, now).await?;
        let user = user.ok_or(ApiError::OauthGrantInvalid)?;
        let device = app.owners.device(&user, request);
        let owner = ProvenOwner {
            user,
            device,
            is_new: false,
        };
        return Ok((owner, true));
    }
    let email = identity
        .proven_email()
        .ok_or(ApiError::OauthEmailUnverified)?;
    let found = users.find_by_email(email, now).await?;
    let owner = app
        .owners
        .owner(found, email, identity.name.clone(), request);
    let owner = owner.await?;
    // Another request may have linked it meanwhile.
    let is_linked = owner.user.identity(identity).is_some();
    if !is_linked {
        IdentityLinks::check(&owner.user, identity)?;
    }
    Ok((owner, is_linked))
}

/// Signs in. The provider is one factor: with two-factor authentication, the code is required as well. An identity is
/// linked once everything else is right; the grant is used up with the record of the sign-in.
async fn sign_in(
    app: &App,
    (owner, is_linked): (ProvenOwner, bool),
    exchange: &Exchange,
    (request, limits): (&Request, &RequestLimits),
) -> Result<Response, ApiError> {
    let client = request.client();
    let (user, grant) = (&owner.user, &exchange.grant);
    let identity = &grant.identity;
    if let Err(error) = app.sign_in.check(user, ApiError::OauthGrantInvalid) {
        let audit = &app.owners.accounts.audit;
        record_failure(audit, Some(user.id), EVENT, false, client).await?;
        return Err(error);
    }
    let (two_factor, code) = (&app.two_factor, exchange.second_factor.as_ref());
    let checked = two_factor.check_if_enabled(user, code, EVENT, client);
    let checked = checked.await;
    if let Err(ApiError::TwoFactorInvalid) = checked {
        app.failures.count(user, client).await?;
    }
    let code = checked?;
    let result = async {
        let id = user.id;
        let tokens = app.provider_tokens.of_grant(&exchange.token, grant, id)?;
        let tokens = tokens.as_ref();
        let user = match is_linked {
            true => user.clone(),
            false => link(app, &owner, tokens, exchange, client).await?,
        };
        let allowed = app.sign_in.check(&user, ApiError::OauthGrantInvalid)?;
        let (sessions, delivery) = (&app.sign_in.sessions, exchange.delivery);
        let from = owner.client(sessions, request, exchange.is_remembered, delivery);
        let from = from.await?;
        let mut proof = proof(app, &user, exchange, code.as_ref(), client);
        if let Some(tokens) = tokens.filter(|_| is_linked) {
            let kept = app.links.identities.keep_tokens(&identity.id(), id, tokens);
            proof.writes.push(Write::new(kept, Refused::ProofChanged));
        }
        let settle = limits.take_back_of_owner();
        let tokens = app.sign_in.start(allowed, proof, &from, settle).await?;
        let answer = SignedIn::new(&user, tokens.body, request.received_at());
        Ok(Response::ok("Signed in.", answer).with_cookies(tokens.cookies))
    };
    let result = result.await;
    if let Some(code) = &code {
        two_factor.settle(code, &result, client).await;
    }
    result
}

/// Links the identity. If the account has changed since it was read, the checks may not hold any more (its second factor
/// may have been turned on): then the client asks again, with the same grant.
async fn link(
    app: &App,
    owner: &ProvenOwner,
    tokens: Option<&Sealed>,
    exchange: &Exchange,
    client: &ClientInfo,
) -> Result<User, ApiError> {
    let new = NewLink {
        is_of_new_account: owner.is_new,
        grant: None,
        tokens,
    };
    let changed = || async {
        Err(ApiError::ServiceUnavailable(
            "the account was changed".into(),
        ))
    };
    let identity = &exchange.grant.identity;
    let user = owner.user.clone();
    app.links.link(user, identity, new, changed, client).await
}

fn proof(
    app: &App,
    user: &User,
    exchange: &Exchange,
    code: Option<&VerifiedCode>,
    client: &ClientInfo,
) -> Proof {
    let identity = &exchange.grant.identity;
    let grant = app.requests.use_grant(exchange.token.hash());
    let mut writes = vec![Write::new(grant, Refused::ProofChanged)];
    if let Some(code) = code {
        let item = code.write(&app.two_factor.store, client);
        writes.push(Write::new(item, Refused::CodeUsed));
    }
    let linked = user.identity(identity).map(|(name, _)| name);
    let name = linked.unwrap_or(&identity.provider).clone();
    Proof {
        event: EVENT,
        methods: match code {
            Some(_) => AuthenticationMethods::FEDERATED_AND_CODE,
            None => AuthenticationMethods::FEDERATED,
        },
        writes,
        is_used_up: true,
        used: Some(UsedMethod::Identity(name, identity.id())),
        has_backup_code: code.is_some_and(VerifiedCode::is_backup_code),
        refusal: || ApiError::OauthGrantInvalid,
    }
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: PublicGuard,
    requests: OauthRequests,
    links: IdentityLinks,
    owners: ProvenOwners,
    sign_in: SignIn,
    two_factor: TwoFactor,
    failures: Failures,
    provider_tokens: ProviderTokenCipher,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: PublicGuard::public(&mut environment, LIMIT),
            requests: OauthRequests::from_env(&mut environment),
            links: IdentityLinks::from_env(&mut environment),
            owners: ProvenOwners::from_env(&mut environment),
            sign_in: SignIn::from_env(&mut environment),
            two_factor: TwoFactor::from_env(&mut environment),
            failures: Failures::from_env(&mut environment),
            provider_tokens: ProviderTokenCipher::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
