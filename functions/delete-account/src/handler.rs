use std::time::Duration;

use shared::StartError;
use shared::api::Field;
use shared::api::delete_account::DeleteAccountRequest;
use shared::config::Environment;
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::authentication::Authenticator;
use shared::http::guard::{Endpoint, Guard};
use shared::http::password_check::PasswordCheck;
use shared::http::second_factor::{Factor, SecondFactor};
use shared::http::{Request, Response};
use shared::store::audit::{self, Audit, Event, Outcome};
use shared::store::dynamodb::{DynamoDb, TransactionError, Write};
use shared::store::mailed_tokens::MailedTokens;
use shared::store::outbox::{Kind, Links, Outbox};
use shared::store::users::Users;

/// From the deletion to the purge; until then address and username stay taken.
const PURGE_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Tries at a deletion that meets a change of the same record.
const TRIES: u32 = 3;

/// Which part of the transaction was refused.
#[derive(Clone, Copy)]
enum Refused {
    /// The code has been used meanwhile.
    FactorUsed,
    /// The record has changed since it was read.
    Stale,
}

pub async fn delete_account(app: &App, request: Request) -> Result<Response, ApiError> {
    delete(app, request).await.map_err(ApiError::of_signed_in)
}

async fn delete(app: &App, request: Request) -> Result<Response, ApiError> {
    let caller = app.authenticator.required(&request).await?;
    let body: DeleteAccountRequest = request.json()?;
    let password = body.password.into_inner();
    let code = body.two_factor_token.map(Field::into_inner);
    let (check, event) = (&app.password_check, Event::AccountDelete);
    check.verify(&caller, &password, event, &request).await?;
    let factor = app
        .second_factor
        .check_if_enabled(&caller.user, code.as_ref(), event, &request)
        .await?;

    let result = delete_current(app, caller.user, factor.as_ref(), &request).await;
    if let Some(factor) = &factor {
        app.second_factor.settle(factor, &result, &request).await;
    }
    let user = result?;
    audit::log(
        Some(user.id),
        Event::AccountDelete,
        Outcome::Success,
        request.origin(),
    );
    // From here on no session of the account is accepted anywhere, because the record says so;
    // a failure leaves keys behind that are worth nothing and expire.
    if let Err(error) = app.authenticator.sessions.revoke_all(user.id).await {
        tracing::error!(cause = %error, "the sessions of a deleted account were left to expire");
    }
    Ok(Response::done("The account was deleted."))
}

/// Deletes the account as its record is now: it may change meanwhile, and with it the username.
async fn delete_current(
    app: &App,
    mut user: User,
    factor: Option<&Factor>,
    request: &Request,
) -> Result<User, ApiError> {
    for _ in 0..TRIES {
        match write(app, &user, factor, request).await {
            Ok(()) => return Ok(user),
            Err(TransactionError::Store(error)) => return Err(error.into()),
            Err(TransactionError::Refused(Refused::FactorUsed)) => {
                return Err(ApiError::TwoFactorUsed);
            }
            Err(TransactionError::Refused(Refused::Stale)) => {
                let current = app.users.find(user.id, request.received_at()).await?;
                // Nor does a session end it that is over by this change.
                let is_as_before = |current: &User| {
                    current.is_active() && current.session_epoch == user.session_epoch
                };
                user = current.filter(is_as_before).ok_or(ApiError::TokenRevoked)?;
            }
        }
    }
    Err(ApiError::ServiceUnavailable(
        "the record kept changing".into(),
    ))
}

/// The account with all that belongs to it, or nothing: the status ends sign-in at once, the `ttl`
/// lets the items go, the claims too, only when the account is purged.
async fn write(
    app: &App,
    user: &User,
    factor: Option<&Factor>,
    request: &Request,
) -> Result<(), TransactionError<Refused>> {
    let (now, store) = (request.received_at(), &app.second_factor.store);
    let purge_at = now.plus(PURGE_AFTER);
    let mut items = vec![
        app.users.delete(user, now, purge_at),
        app.users.expire_email(&user.email, user.id, purge_at),
        app.password_check
            .credentials
            .expire_password(user.id, purge_at),
        app.outbox.create(
            Kind::AccountDeleted,
            user,
            &Links::none(),
            request.language(),
            request.origin(),
        ),
        app.audit.create(
            user.id,
            Event::AccountDelete,
            Outcome::Success,
            request.origin(),
        ),
    ];
    if let Some(username) = &user.username {
        items.push(app.users.expire_username(username, user.id, purge_at));
    }
    let rejection = user.rejection.iter();
    items.extend(rejection.map(|rejection| app.mailed_tokens.discard_rejection(rejection)));
    // What the code is of goes at once, and the code with it.
    let mut used_up = Vec::new();
    for device in store.find_devices(user.id, now).await? {
        let id = device.id();
        match factor.filter(|factor| factor.is_of_device(id)) {
            Some(factor) => used_up.push(factor.remove_device(store, id)),
            None => items.push(store.expire_device(user.id, id, purge_at)),
        }
    }
    for hash in store.find_backup_codes(user.id, now).await? {
        match factor.filter(|factor| factor.is_of_backup_code(&hash)) {
            Some(factor) => used_up.push(factor.remove_backup_code(store, &hash)),
            None => items.push(store.expire_backup_code(user.id, &hash, purge_at)),
        }
    }
    let mut writes = Write::all(used_up, Refused::FactorUsed);
    writes.extend(Write::all(items, Refused::Stale));
    app.dynamodb.transact(writes).await
}

/// What this endpoint may touch.
pub struct App {
    pub guard: Guard,
    password_check: PasswordCheck,
    authenticator: Authenticator,
    dynamodb: DynamoDb,
    users: Users,
    second_factor: SecondFactor,
    mailed_tokens: MailedTokens,
    outbox: Outbox,
    audit: Audit,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let dynamodb = environment.dynamodb();
        let users_table = environment.text("USERS_TABLE");
        let credentials_table = environment.text("CREDENTIALS_TABLE");
        let users = Users::new(dynamodb.clone(), users_table.clone());
        let audit = Audit::new(dynamodb.clone(), users_table.clone());
        let mailed_tokens = MailedTokens::new(dynamodb.clone(), users_table.clone());
        let outbox = Outbox::new(users_table);
        let second_factor = environment.second_factor(
            dynamodb.clone(),
            credentials_table,
            audit.clone(),
            outbox.clone(),
        );
        let endpoint = Endpoint::per_user("ACCOUNT_DELETE", "5/15m");
        let app = Self {
            guard: Guard::for_users(&mut environment, Some(endpoint)),
            password_check: environment.password_check(&dynamodb, &audit),
            authenticator: environment.authenticator(users.clone()),
            users,
            second_factor,
            mailed_tokens,
            outbox,
            audit,
            dynamodb,
        };
        environment.finish(app)
    }
}
