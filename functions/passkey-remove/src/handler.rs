use shared::StartError;
use shared::api::Field;
use shared::api::passkey_remove::PasskeyRemoveRequest;
use shared::auth::authentication::Caller;
use shared::auth::reauthentication::Reauthentication;
use shared::auth::retry::{Stale, write_current};
use shared::config::Environment;
use shared::domain::client_info::ClientInfo;
use shared::domain::user::{PasskeyId, User};
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::serve::{AuthenticatedGuard, Endpoint};
use shared::store::audit::{Audit, Event};
use shared::store::dynamodb::{TransactionError, Write};
use shared::store::outbox::{Kind, Links, Outbox};
use shared::store::passkeys::PasskeyStore;
use shared::store::users::Users;

pub async fn remove(app: &App, caller: Caller, request: Request) -> Result<Response, ApiError> {
    let removed = remove_passkey(app, &caller, &request).await;
    removed.map_err(ApiError::for_signed_in)
}

async fn remove_passkey(
    app: &App,
    caller: &Caller,
    request: &Request,
) -> Result<Response, ApiError> {
    let client = request.client();
    let body: PasskeyRemoveRequest = request.optional_json()?;
    let id = request.path_parameter("id").unwrap_or_default();
    let id: PasskeyId = id.parse().map_err(|_| ApiError::NotFound)?;
    let find = |user: User| match user.passkeys.contains_key(&id) {
        true => Ok(user),
        false => Err(ApiError::NotFound),
    };
    let user = find(caller.user.clone())?;
    let password = body.password.map(Field::into_inner);
    let (check, event) = (&app.reauthentication, Event::PasskeyRemove);
    check
        .check(caller, password.as_ref(), event, client)
        .await?;
    write_current(
        user,
        |user| write(app, user, id, client),
        || async { find(caller.reread(&app.users, client.received_at).await?) },
    )
    .await?;
    Ok(Response::done("The passkey was removed."))
}

/// Removes the passkey and its entry in the record, all or nothing. Sessions that it started stay, like those of other
/// methods: `DELETE /api/auth/sessions` ends them.
async fn write(
    app: &App,
    mut user: User,
    id: PasskeyId,
    client: &ClientInfo,
) -> Result<(), TransactionError<Stale>> {
    let removed = user.passkeys.remove(&id);
    let removed = removed.map(|passkey| app.passkeys.remove(&passkey.credential_id));
    let (kind, links) = (Kind::PasskeyRemoved, Links::none());
    let update = app.users.update_passkeys(&user, client.received_at);
    let mail = app.outbox.create(kind, &user, &links, client);
    let items = removed.into_iter().chain([update, mail]);
    let (events, writes) = ([Event::PasskeyRemove], Write::all(items, Stale));
    app.audit
        .commit(user.id, &events, client, writes, Stale)
        .await
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: AuthenticatedGuard,
    passkeys: PasskeyStore,
    users: Users,
    outbox: Outbox,
    audit: Audit,
    reauthentication: Reauthentication,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: AuthenticatedGuard::from_env(&mut environment, Some(Endpoint::PASSKEYS)),
            passkeys: PasskeyStore::from_env(&mut environment),
            users: Users::from_env(&mut environment),
            outbox: Outbox::from_env(&mut environment),
            audit: Audit::from_env(&mut environment),
            reauthentication: Reauthentication::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
