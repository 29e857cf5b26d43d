use shared::StartError;
use shared::api::reset_confirm::ResetConfirmRequest;
use shared::config::Environment;
use shared::domain::email_token::TokenHash;
use shared::domain::password::{Owner, Policy};
use shared::domain::password_hash::{PasswordHash, PasswordHasher};
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::guard::{Endpoint, Guard};
use shared::http::lockout::LoginLockout;
use shared::http::{Request, Response};
use shared::store::audit::{self, Audit, Event, Outcome};
use shared::store::credentials::Credentials;
use shared::store::dynamodb::{DynamoDb, TransactionError, Write};
use shared::store::mailed_tokens::MailedTokens;
use shared::store::outbox::{Kind, Links, Outbox};
use shared::store::reset_tokens::ResetTokens;
use shared::store::sessions::Sessions;
use shared::store::two_factor::TwoFactor;
use shared::store::users::Users;
use shared::{clock, random, telemetry};

/// Tries at a reset that meets a change of the same record.
const TRIES: u32 = 3;

/// The record has changed since it was read; the token has perhaps been used.
#[derive(Clone, Copy)]
struct Stale;

pub async fn confirm_reset(app: &App, request: Request) -> Result<Response, ApiError> {
    let check = |body: &ResetConfirmRequest| body.check_new_password(&app.policy);
    let body = request.json_with(check)?;
    let (token, password) = (body.token.into_inner(), body.new_password);
    let mut user = find_owner(app, &token, &request).await?;
    // Now that the owner is known, once more: a password that is refused costs nobody the token.
    let owner = Owner {
        email: Some(&user.email),
        username: user.username.as_ref(),
    };
    password.check_policy("new_password", &app.policy, owner)?;
    let password = password.into_inner();
    let hash = telemetry::hashing(|| app.hasher.hash(&password, random::bytes()));

    write_current(app, &mut user, &token, &hash, &request).await?;
    // By the record the sessions are over already.
    let tidy_up = async {
        app.sessions.revoke_all(user.id).await?;
        app.lockout.forgive_all(&user).await;
        app.reset_tokens.remove(&token).await
    };
    clock::aftermath("removing what is over with a new password", tidy_up).await;
    Ok(Response::done("The password was set. Sign in with it now."))
}

/// Sets the password of the account as its record is now: it may change meanwhile.
async fn write_current(
    app: &App,
    user: &mut User,
    token: &TokenHash,
    hash: &PasswordHash,
    request: &Request,
) -> Result<(), ApiError> {
    for _ in 0..TRIES {
        match write(app, user, token, hash, request).await {
            Ok(()) => return Ok(()),
            Err(TransactionError::Store(error)) => return Err(error.into()),
            // Where the token is not valid any more, this says so.
            Err(TransactionError::Refused(Stale)) => {
                *user = find_owner(app, token, request).await?;
            }
        }
    }
    Err(ApiError::ServiceUnavailable(
        "the record kept changing".into(),
    ))
}

async fn find_owner(app: &App, token: &TokenHash, request: &Request) -> Result<User, ApiError> {
    let id = app.reset_tokens.find_user(token).await?;
    let id = id.ok_or(ApiError::InvalidResetToken)?;
    let user = app.users.find(id, request.received_at()).await?;
    user.filter(|user| user.is_active() && user.reset_token.as_ref() == Some(token))
        .ok_or(ApiError::InvalidResetToken)
}

/// The password and the end of the token at once: it works one time, also in parallel, and never for
/// nothing. Of an account whose address nobody had proven nothing else stays.
async fn write(
    app: &App,
    user: &User,
    token: &TokenHash,
    hash: &PasswordHash,
    request: &Request,
) -> Result<(), TransactionError<Stale>> {
    let (now, origin, language) = (request.received_at(), request.origin(), request.language());
    let (event, success) = (Event::PasswordReset, Outcome::Success);
    let mut items = vec![
        app.users.consume_reset_token(user, token, now),
        app.credentials.reset_password(user.id, hash, now),
        app.outbox.create(
            Kind::PasswordWasReset,
            user,
            &Links::none(),
            language,
            origin,
        ),
        app.audit.create(user.id, event, success, origin),
    ];
    if !user.email_verified {
        items.push(app.users.keep_email(user));
        let username = user.username.iter();
        items.extend(username.map(|username| app.users.release_username(username, user.id)));
        items.extend(app.two_factor.remove_all(user.id, now).await?);
        let rejection = user.rejection.iter();
        items.extend(rejection.map(|rejection| app.mailed_tokens.discard_rejection(rejection)));
    }
    app.dynamodb.transact(Write::all(items, Stale)).await?;
    audit::log(Some(user.id), event, success, origin);
    Ok(())
}

/// What this endpoint may touch.
pub struct App {
    pub guard: Guard,
    lockout: LoginLockout,
    dynamodb: DynamoDb,
    users: Users,
    credentials: Credentials,
    outbox: Outbox,
    audit: Audit,
    reset_tokens: ResetTokens,
    two_factor: TwoFactor,
    mailed_tokens: MailedTokens,
    sessions: Sessions,
    policy: Policy,
    hasher: PasswordHasher,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let dynamodb = environment.dynamodb();
        let users_table = environment.text("USERS_TABLE");
        let credentials_table = environment.text("CREDENTIALS_TABLE");
        let endpoint = Endpoint::per_client("PASSWORD_RESET_CONFIRM", "5/15m");
        let app = Self {
            guard: Guard::for_guests(&mut environment, endpoint),
            lockout: environment.login_lockout(),
            users: Users::new(dynamodb.clone(), users_table.clone()),
            credentials: Credentials::new(dynamodb.clone(), credentials_table.clone()),
            two_factor: TwoFactor::new(dynamodb.clone(), credentials_table),
            mailed_tokens: MailedTokens::new(dynamodb.clone(), users_table.clone()),
            outbox: Outbox::new(users_table.clone()),
            audit: Audit::new(dynamodb.clone(), users_table),
            dynamodb,
            reset_tokens: environment.reset_tokens(),
            sessions: environment.sessions(),
            policy: environment.password_policy(),
            hasher: environment.password_hasher(),
        };
        environment.finish(app)
    }
}
