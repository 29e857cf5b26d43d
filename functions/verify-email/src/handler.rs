use shared::StartError;
use shared::api::Field;
use shared::api::verify_email::VerifyEmailRequest;
use shared::config::Environment;
use shared::domain::email_token::TokenHash;
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::guard::{Endpoint, Guard};
use shared::http::{Request, Response};
use shared::store::audit::{self, Audit, Event, Outcome};
use shared::store::credentials::Credentials;
use shared::store::dynamodb::{DynamoDb, Write};
use shared::store::sessions::Sessions;
use shared::store::two_factor::TwoFactor;
use shared::store::users::Users;
use shared::store::verification_tokens::VerificationTokens;

/// The token has been used, or a newer one has taken its place, or the account has changed.
#[derive(Clone, Copy)]
struct Invalid;

impl From<Invalid> for ApiError {
    fn from(_: Invalid) -> Self {
        Self::InvalidVerificationToken
    }
}

pub async fn verify_email(app: &App, request: Request) -> Result<Response, ApiError> {
    let body: VerifyEmailRequest = request.json()?;
    let token = body.token.into_inner();
    let is_rejected = body.reject.is_some_and(Field::into_inner);
    let user = find_owner(app, &token, &request).await?;
    match is_rejected {
        true => reject(app, &user, &token, &request).await,
        false => accept(app, &user, &token, &request).await,
    }
}

async fn find_owner(app: &App, token: &TokenHash, request: &Request) -> Result<User, ApiError> {
    let now = request.received_at();
    let id = app.verification_tokens.find_user(token, now).await?;
    let id = id.ok_or(ApiError::InvalidVerificationToken)?;
    let user = app.users.find(id, now).await?;
    user.filter(|user| user.is_active() && user.verification_token.as_ref() == Some(token))
        .ok_or(ApiError::InvalidVerificationToken)
}

async fn accept(
    app: &App,
    user: &User,
    token: &TokenHash,
    request: &Request,
) -> Result<Response, ApiError> {
    let (event, success, origin) = (Event::EmailVerification, Outcome::Success, request.origin());
    let writes = [
        app.users
            .verify_email(user.id, token, request.received_at()),
        app.verification_tokens.remove(token),
        app.audit.create(user.id, event, success, origin),
    ];
    let writes = writes.map(|item| Write::new(item, Invalid)).into();
    app.dynamodb.transact(writes).await?;
    audit::log(Some(user.id), event, success, origin);
    Ok(Response::done("The address is verified."))
}

/// "This wasn't me": the account goes at once, with its password and its sessions, and its names are
/// free for the one whose address it is.
async fn reject(
    app: &App,
    user: &User,
    token: &TokenHash,
    request: &Request,
) -> Result<Response, ApiError> {
    let (event, success, origin) = (Event::EmailRejection, Outcome::Success, request.origin());
    let mut items = vec![
        app.users.remove_unverified(user, token),
        app.users.release_email(&user.email, user.id),
        app.credentials.remove_password(user.id),
        app.verification_tokens.remove(token),
        app.audit.create(user.id, event, success, origin),
    ];
    let devices = user.two_factor_devices.iter();
    items.extend(devices.map(|device| app.two_factor.remove_device(user.id, &device.id)));
    if let Some(username) = &user.username {
        items.push(app.users.release_username(username, user.id));
    }
    let writes = items.into_iter().map(|item| Write::new(item, Invalid));
    app.dynamodb.transact(writes.collect()).await?;
    audit::log(Some(user.id), event, success, origin);
    // A session without a record is accepted nowhere; what a failure leaves behind expires.
    if let Err(error) = app.sessions.revoke_all(user.id).await {
        tracing::error!(cause = %error, "the sessions of a removed account were left to expire");
    }
    Ok(Response::done("The account was removed."))
}

/// What this endpoint may touch.
pub struct App {
    pub guard: Guard,
    dynamodb: DynamoDb,
    users: Users,
    credentials: Credentials,
    two_factor: TwoFactor,
    verification_tokens: VerificationTokens,
    audit: Audit,
    sessions: Sessions,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let dynamodb = environment.dynamodb();
        let users_table = environment.text("USERS_TABLE");
        let credentials_table = environment.text("CREDENTIALS_TABLE");
        let endpoint = Endpoint::per_client("EMAIL_VERIFICATION", "10/15m");
        let app = Self {
            guard: Guard::for_guests(&mut environment, endpoint),
            users: Users::new(dynamodb.clone(), users_table.clone()),
            two_factor: TwoFactor::new(dynamodb.clone(), credentials_table.clone()),
            credentials: Credentials::new(dynamodb.clone(), credentials_table),
            verification_tokens: VerificationTokens::new(dynamodb.clone(), users_table.clone()),
            audit: Audit::new(dynamodb.clone(), users_table),
            dynamodb,
            sessions: environment.sessions(),
        };
        environment.finish(app)
    }
}
