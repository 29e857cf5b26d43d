use shared::StartError;
use shared::api::reset_confirm::ResetConfirmRequest;
use shared::config::Environment;
use shared::domain::email_token::TokenHash;
use shared::domain::password::{Owner, Policy};
use shared::domain::password_hash::{PasswordHash, PasswordHasher};
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::guard::{Endpoint, Guard};
use shared::http::lockout::Lockout;
use shared::http::{Request, Response};
use shared::store::audit::{self, Audit, Event, Outcome};
use shared::store::credentials::Credentials;
use shared::store::dynamodb::{DynamoDb, Write};
use shared::store::outbox::{Kind, Outbox};
use shared::store::reset_tokens::ResetTokens;
use shared::store::sessions::Sessions;
use shared::store::users::Users;
use shared::{random, telemetry};

/// The token has been used, or a newer one has taken its place, or the account is not active.
#[derive(Clone, Copy)]
struct Invalid;

impl From<Invalid> for ApiError {
    fn from(_: Invalid) -> Self {
        Self::InvalidResetToken
    }
}

pub async fn confirm_reset(app: &App, request: Request) -> Result<Response, ApiError> {
    let check = |body: &ResetConfirmRequest| body.check_new_password(&app.policy);
    let body = request.json_with(check)?;
    let (token, password) = (body.token.into_inner(), body.new_password);
    let user = find_owner(app, &token, &request).await?;
    // Now that the owner is known, once more: a password that is refused costs nobody the token.
    let owner = Owner {
        email: Some(&user.email),
        username: user.username.as_ref(),
    };
    password.check_policy("new_password", &app.policy, owner)?;
    let password = password.into_inner();
    let hash = telemetry::hashing(|| app.hasher.hash(&password, random::bytes()));

    // The sessions first: if they cannot be ended, nothing has changed and the token still works. And
    // once more after it, for one that was started with the old password in between.
    app.sessions.revoke_all(user.id).await?;
    write(app, &user, &token, &hash, &request).await?;
    app.sessions.revoke_all(user.id).await?;
    app.lockout.forgive_all(user.id).await;
    if let Err(error) = app.reset_tokens.remove(&token).await {
        tracing::warn!(cause = %error, "a reset token that was used is left to expire");
    }
    Ok(Response::done("The password was set. Sign in with it now."))
}

async fn find_owner(app: &App, token: &TokenHash, request: &Request) -> Result<User, ApiError> {
    let id = app.reset_tokens.find_user(token).await?;
    let id = id.ok_or(ApiError::InvalidResetToken)?;
    let user = app.users.find(id, request.received_at()).await?;
    user.filter(|user| user.is_active() && user.reset_token.as_ref() == Some(token))
        .ok_or(ApiError::InvalidResetToken)
}

/// The password and the end of the token at once: it works one time, also in parallel, and never for
/// nothing.
async fn write(
    app: &App,
    user: &User,
    token: &TokenHash,
    hash: &PasswordHash,
    request: &Request,
) -> Result<(), ApiError> {
    let (now, origin, language) = (request.received_at(), request.origin(), request.language());
    let (event, success) = (Event::PasswordReset, Outcome::Success);
    let writes = [
        app.users.consume_reset_token(user.id, token, now),
        app.credentials.reset_password(user.id, hash, now),
        app.outbox
            .create(Kind::PasswordWasReset, user, None, language, now),
        app.audit.create(user.id, event, success, origin),
    ];
    let writes = writes.map(|item| Write::new(item, Invalid)).into();
    app.dynamodb.transact(writes).await?;
    audit::log(Some(user.id), event, success, origin);
    Ok(())
}

/// What this endpoint may touch.
pub struct App {
    pub guard: Guard,
    lockout: Lockout,
    dynamodb: DynamoDb,
    users: Users,
    credentials: Credentials,
    outbox: Outbox,
    audit: Audit,
    reset_tokens: ResetTokens,
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
            lockout: environment.lockout(),
            users: Users::new(dynamodb.clone(), users_table.clone()),
            credentials: Credentials::new(dynamodb.clone(), credentials_table),
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
