use std::time::Duration;

use shared::StartError;
use shared::api::Field;
use shared::api::delete_account::DeleteAccountRequest;
use shared::auth::authentication::Caller;
use shared::auth::reauthentication::PasswordCheck;
use shared::auth::retry::write_current;
use shared::auth::two_factor::{Refused, TwoFactor, VerifiedCode};
use shared::config::Environment;
use shared::domain::client_info::ClientInfo;
use shared::domain::duration::days;
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::serve::{AuthenticatedGuard, Endpoint};
use shared::store::audit::{Audit, Event};
use shared::store::credentials::Credentials;
use shared::store::dynamodb::{TransactionError, Write};
use shared::store::identities::Identities;
use shared::store::mailed_tokens::MailedTokens;
use shared::store::outbox::{Kind, Links, Outbox};
use shared::store::passkeys::PasskeyStore;
use shared::store::sessions::Sessions;
use shared::store::users::Users;

const LIMIT: Endpoint = Endpoint::per_caller("ACCOUNT_DELETE", "5/15m");

/// The time from the deletion to the purge; until then the address and the username stay taken.
const PURGE_AFTER: Duration = days(30);

pub async fn delete_account(
    app: &App,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    let deleted = delete(app, &caller, &request).await;
    deleted.map_err(ApiError::for_signed_in)
}

async fn delete(app: &App, caller: &Caller, request: &Request) -> Result<Response, ApiError> {
    let client = request.client();
    let body: DeleteAccountRequest = request.json()?;
    let password = body.password.into_inner();
    let code = body.two_factor_token.map(Field::into_inner);
    let (check, event) = (&app.password_check, Event::AccountDelete);
    check.verify(caller, &password, event, client).await?;
    let (user, two_factor) = (&caller.user, &app.two_factor);
    let checked = two_factor.check_if_enabled(user, code.as_ref(), event, client);
    let code = checked.await?;
    let used = code.as_ref();

    let result = write_current(
        user.clone(),
        |user| write(app, user, used, client),
        || async {
            let user = caller.reread(&app.users, client.received_at).await?;
            match user.two_factor_enabled && used.is_none() {
                true => Err(ApiError::TwoFactorRequired),
                false => Ok(user),
            }
        },
    )
    .await;
    if let Some(code) = &code {
        two_factor.settle(code, &result, client).await;
    }
    let user = result?;
    // The record already rejects every session of the account: keys that are left behind expire.
    if let Err(error) = app.sessions.revoke_all(user.id).await {
        tracing::error!(cause = %error, "the sessions of a deleted account were left to expire");
    }
    Ok(Response::done("The account was deleted."))
}

/// Marks the account and everything that belongs to it as deleted, all or nothing. The status ends sign-in at once; the
/// items, claims included, are removed when the account is purged.
async fn write(
    app: &App,
    user: User,
    code: Option<&VerifiedCode>,
    client: &ClientInfo,
) -> Result<(), TransactionError<Refused>> {
    let (now, store) = (client.received_at, &app.two_factor.store);
    let purge_at = now.plus(PURGE_AFTER);
    let mut items = vec![
        app.users.delete(&user, now, purge_at),
        app.users.expire_email(&user.email, user.id, purge_at),
        app.credentials.expire_password(user.id, purge_at),
        app.outbox
            .create(Kind::AccountDeleted, &user, &Links::none(), client),
    ];
    if let Some(username) = &user.username {
        items.push(app.users.expire_username(username, user.id, purge_at));
    }
    let rejection = user.rejection.iter();
    items.extend(rejection.map(|rejection| app.mailed_tokens.discard_rejection(rejection)));
    let passkeys = user.passkeys.values();
    items.extend(passkeys.map(|passkey| app.passkeys.expire(&passkey.credential_id, purge_at)));
    let identities = user.identities.values();
    items.extend(
        identities.map(|identity| app.identities.expire(&identity.id(), user.id, purge_at)),
    );
    // The device or the backup code that authorised the deletion is removed at once, so that the code is used up.
    let mut used_up = Vec::new();
    for device in store.find_devices(user.id, now).await? {
        let id = device.id();
        match code.filter(|code| code.matches_device(id)) {
            Some(code) => used_up.push(code.remove_device(store, id)),
            None => items.push(store.expire_device(user.id, id, purge_at)),
        }
    }
    for hash in store.find_backup_codes(user.id, now).await? {
        match code.filter(|code| code.matches_backup_code(&hash)) {
            Some(code) => used_up.push(code.remove_backup_code(store, &hash)),
            None => items.push(store.expire_backup_code(user.id, &hash, purge_at)),
        }
    }
    let mut writes = Write::all(used_up, Refused::CodeUsed);
    writes.extend(Write::all(items, Refused::Stale));
    let events = [Event::AccountDelete];
    app.audit
        .commit(user.id, &events, client, writes, Refused::Stale)
        .await
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: AuthenticatedGuard,
    password_check: PasswordCheck,
    sessions: Sessions,
    users: Users,
    credentials: Credentials,
    two_factor: TwoFactor,
    passkeys: PasskeyStore,
    identities: Identities,
    mailed_tokens: MailedTokens,
    outbox: Outbox,
    audit: Audit,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: AuthenticatedGuard::from_env(&mut environment, Some(LIMIT)),
            password_check: PasswordCheck::from_env(&mut environment),
            sessions: Sessions::from_env(&mut environment),
            users: Users::from_env(&mut environment),
            credentials: Credentials::from_env(&mut environment),
            two_factor: TwoFactor::from_env(&mut environment),
            passkeys: PasskeyStore::from_env(&mut environment),
            identities: Identities::from_env(&mut environment),
            mailed_tokens: MailedTokens::from_env(&mut environment),
            outbox: Outbox::from_env(&mut environment),
            audit: Audit::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
