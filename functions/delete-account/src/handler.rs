use std::time::Duration;

use shared::StartError;
use shared::api::delete_account::DeleteAccountRequest;
use shared::config::Environment;
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::authentication::Authenticator;
use shared::http::guard::{Endpoint, Guard};
use shared::http::password_check::PasswordCheck;
use shared::http::{Request, Response};
use shared::store::audit::{self, Audit, Event, Outcome};
use shared::store::credentials::Credentials;
use shared::store::dynamodb::{DynamoDb, TransactionError, Write};
use shared::store::outbox::{Kind, Outbox};
use shared::store::two_factor::TwoFactor;
use shared::store::users::Users;

/// From the deletion to the purge; until then address and username stay taken.
const PURGE_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Tries at a deletion that meets a change of the same record.
const TRIES: u32 = 3;

/// The record has changed since it was read.
#[derive(Clone, Copy)]
struct Stale;

pub async fn delete_account(app: &App, request: Request) -> Result<Response, ApiError> {
    let caller = app.authenticator.required(&request).await?;
    let body: DeleteAccountRequest = request.json()?;
    let password = body.password.into_inner();
    let (check, event) = (&app.password_check, Event::AccountDelete);
    check
        .verify(&caller.user, &password, event, &request)
        .await?;

    let user = delete_current(app, caller.user, &request).await?;
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
async fn delete_current(app: &App, mut user: User, request: &Request) -> Result<User, ApiError> {
    for _ in 0..TRIES {
        match delete(app, &user, request).await {
            Ok(()) => return Ok(user),
            Err(TransactionError::Store(error)) => return Err(error.into()),
            Err(TransactionError::Refused(Stale)) => {
                let current = app.users.find(user.id, request.received_at()).await?;
                user = current
                    .filter(User::is_active)
                    .ok_or(ApiError::TokenRevoked)?;
            }
        }
    }
    Err(ApiError::ServiceUnavailable(
        "the record kept changing".into(),
    ))
}

/// The account with all that belongs to it, or nothing: the status ends sign-in at once, the `ttl`
/// lets the items go, the claims too, only when the account is purged.
async fn delete(app: &App, user: &User, request: &Request) -> Result<(), TransactionError<Stale>> {
    let now = request.received_at();
    let purge_at = now.plus(PURGE_AFTER);
    let mut items = vec![
        app.users.delete(user, now, purge_at),
        app.users.expire_email(&user.email, user.id, purge_at),
        app.password_check
            .credentials
            .expire_password(user.id, purge_at),
        app.outbox
            .create(Kind::AccountDeleted, user, None, request.language(), now),
        app.audit.create(
            user.id,
            Event::AccountDelete,
            Outcome::Success,
            request.origin(),
        ),
    ];
    items.extend(app.two_factor.expire_all(user.id, now, purge_at).await?);
    if let Some(username) = &user.username {
        items.push(app.users.expire_username(username, user.id, purge_at));
    }
    app.dynamodb
        .transact(
            items
                .into_iter()
                .map(|item| Write::new(item, Stale))
                .collect(),
        )
        .await
}

/// What this endpoint may touch.
pub struct App {
    pub guard: Guard,
    password_check: PasswordCheck,
    authenticator: Authenticator,
    dynamodb: DynamoDb,
    users: Users,
    two_factor: TwoFactor,
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
        let password_check = PasswordCheck {
            credentials: Credentials::new(dynamodb.clone(), credentials_table.clone()),
            hasher: environment.password_hasher(),
            lockout: environment.lockout(),
            audit: audit.clone(),
        };
        let endpoint = Endpoint::per_user("ACCOUNT_DELETE", "5/15m");
        let app = Self {
            guard: Guard::for_users(&mut environment, Some(endpoint)),
            password_check,
            authenticator: environment.authenticator(users.clone()),
            users,
            two_factor: TwoFactor::new(dynamodb.clone(), credentials_table),
            outbox: Outbox::new(users_table),
            audit,
            dynamodb,
        };
        environment.finish(app)
    }
}
