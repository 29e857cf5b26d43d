use shared::StartError;
use shared::api::Field;
use shared::api::oauth_unlink::OauthUnlinkRequest;
use shared::auth::authentication::Caller;
use shared::auth::reauthentication::Reauthentication;
use shared::auth::retry::{Stale, write_current};
use shared::config::Environment;
use shared::domain::client_info::ClientInfo;
use shared::domain::provider::ProviderName;
use shared::domain::rule::Parse;
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::serve::{AuthenticatedGuard, Endpoint};
use shared::store::audit::{Audit, Event};
use shared::store::dynamodb::{TransactionError, Write};
use shared::store::identities::Identities;
use shared::store::outbox::{Kind, Links, Outbox};
use shared::store::users::Users;

pub async fn unlink(app: &App, caller: Caller, request: Request) -> Result<Response, ApiError> {
    let unlinked = unlink_identity(app, &caller, &request).await;
    unlinked.map_err(ApiError::for_signed_in)
}

async fn unlink_identity(
    app: &App,
    caller: &Caller,
    request: &Request,
) -> Result<Response, ApiError> {
    let client = request.client();
    let body: OauthUnlinkRequest = request.optional_json()?;
    let name = request.path_parameter("provider").unwrap_or_default();
    let name = &ProviderName::parse(name).map_err(|_| ApiError::NotFound)?;
    let user = check(caller.user.clone(), name)?;
    let (password, event) = (body.password.map(Field::into_inner), Event::OauthUnlink);
    let reauthenticated = app
        .reauthentication
        .check(caller, password.as_ref(), event, client);
    reauthenticated.await?;
    write_current(
        user,
        |user| write(app, user, name, client),
        || async { check(caller.reread(&app.users, client.received_at).await?, name) },
    )
    .await?;
    Ok(Response::done("The identity was unlinked."))
}

/// Checks that there is such an identity, and that something else is left to sign in with. A mailed code does not count:
/// the address may be one that the provider forwards for as long as the identity is used here.
fn check(user: User, name: &ProviderName) -> Result<User, ApiError> {
    if !user.identities.contains_key(name) {
        return Err(ApiError::NotFound);
    }
    let others = user.identities.len() - 1 + user.passkeys.len();
    match user.has_no_password && others == 0 {
        true => Err(ApiError::LastSignInMethod),
        false => Ok(user),
    }
}

/// Removes the identity and its entry in the record, all or nothing. Sessions that it started stay, like those of other
/// methods: `DELETE /api/auth/sessions` ends them.
async fn write(
    app: &App,
    mut user: User,
    name: &ProviderName,
    client: &ClientInfo,
) -> Result<(), TransactionError<Stale>> {
    let removed = user.identities.remove(name);
    let removed = removed.map(|identity| app.identities.remove(&identity.id(), user.id));
    let (kind, links) = (Kind::IdentityUnlinked, Links::none());
    let update = app.users.update_identities(&user, client.received_at);
    let mail = app.outbox.create(kind, &user, &links, client);
    let items = removed.into_iter().chain([update, mail]);
    let (events, writes) = ([Event::OauthUnlink], Write::all(items, Stale));
    app.audit
        .commit(user.id, &events, client, writes, Stale)
        .await
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: AuthenticatedGuard,
    identities: Identities,
    users: Users,
    outbox: Outbox,
    audit: Audit,
    reauthentication: Reauthentication,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: AuthenticatedGuard::from_env(&mut environment, Some(Endpoint::OAUTH_LINKS)),
            identities: Identities::from_env(&mut environment),
            users: Users::from_env(&mut environment),
            outbox: Outbox::from_env(&mut environment),
            audit: Audit::from_env(&mut environment),
            reauthentication: Reauthentication::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
