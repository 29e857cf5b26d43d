use shared::StartError;
use shared::api::verify_email::VerifyEmailRequest;
use shared::api::{Field, MailedProof};
use shared::auth::authentication::Authenticator;
use shared::auth::device;
use shared::auth::lockout::{LoginLockout, Target};
use shared::auth::mailed_codes::MailedCodes;
use shared::auth::reauthentication::record_failure;
use shared::auth::unproven_accounts::UnprovenAccounts;
use shared::config::Environment;
use shared::domain::client_info::ClientInfo;
use shared::domain::device_token::DeviceTokenVerifier;
use shared::domain::email_token::{Purpose, TokenHash};
use shared::domain::mailed_code::CodePurpose;
use shared::domain::password::Password;
use shared::domain::password_hash::{PasswordHasher, Verification};
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::serve::{AccessTokenGuard, Endpoint};
use shared::store::audit::Event;
use shared::store::dynamodb::{TransactionError, Write};
use shared::telemetry;

const LIMIT: Endpoint = Endpoint::per_client("EMAIL_VERIFICATION", "10/15m");

/// The token has been used or replaced by a newer one, or the account has changed.
#[derive(Clone, Copy)]
struct Invalid;

pub async fn verify_email(app: &App, request: Request) -> Result<Response, ApiError> {
    let body: VerifyEmailRequest = request.json_with(VerifyEmailRequest::check)?;
    let proof = MailedProof::of(body.token, body.request_token, body.code);
    let purposes = (Purpose::VerifyEmail, CodePurpose::VerifyEmail);
    let token = app.codes.token(purposes, proof, request.client()).await?;
    let token = token.ok_or(ApiError::InvalidVerificationToken)?;
    match body.reject.is_some_and(Field::into_inner) {
        true => reject(app, &token, request.client()).await,
        false => {
            let password = body.password.map(Field::into_inner);
            accept(app, &token, password.as_ref(), &request).await
        }
    }
}

async fn accept(
    app: &App,
    token: &TokenHash,
    password: Option<&Password>,
    request: &Request,
) -> Result<Response, ApiError> {
    let client = request.client();
    let user = find_owner(app, token, client).await?;
    let done = Response::done("The address is verified.");
    if user.email_verified {
        return Ok(done); // the link was opened again
    }
    if user.verification_token.as_ref() != Some(token) {
        return Err(ApiError::InvalidVerificationToken);
    }
    confirm(app, &user, password, request).await?;

    let accounts = &app.accounts;
    let verify = accounts
        .users
        .verify_email(user.id, token, client.received_at);
    let mut items = vec![verify];
    let rejection = user.rejection.iter();
    items.extend(rejection.map(|rejection| accounts.mailed_tokens.discard_rejection(rejection)));
    if user.ttl.is_some() {
        items.push(accounts.users.keep_email(&user));
        items.push(accounts.credentials.keep_password(user.id));
        let username = user.username.iter();
        items.extend(username.map(|username| accounts.users.keep_username(username, user.id)));
    }
    let (events, writes) = ([Event::EmailVerification], Write::all(items, Invalid));
    let audit = &accounts.audit;
    match audit
        .commit(user.id, &events, client, writes, Invalid)
        .await
    {
        Ok(()) => {}
        // The same link may have been opened twice at once.
        Err(TransactionError::Refused(Invalid)) => {
            let user = find_owner(app, token, client).await?;
            if !user.email_verified {
                return Err(ApiError::InvalidVerificationToken);
            }
        }
        Err(TransactionError::Store(error)) => return Err(error.into()),
    }
    Ok(done)
}

async fn find_owner(app: &App, token: &TokenHash, client: &ClientInfo) -> Result<User, ApiError> {
    let (now, purpose) = (client.received_at, Purpose::VerifyEmail);
    let owner = app.accounts.mailed_tokens.find(purpose, token, now).await?;
    let owner = owner.ok_or(ApiError::InvalidVerificationToken)?;
    let user = app.accounts.users.find(owner, now).await?;
    let user = user.filter(User::is_active);
    user.ok_or(ApiError::InvalidVerificationToken)
}

/// Checks that the person who registered the account sends the request. The mail proves only who owns the address:
/// without this check, one click by the owner would verify the address for a stranger.
async fn confirm(
    app: &App,
    user: &User,
    password: Option<&Password>,
    request: &Request,
) -> Result<(), ApiError> {
    if !app.confirmation_is_required {
        return Ok(());
    }
    let device = device::presented(&app.device_tokens, user.id, request);
    if device.is_some_and(|device| !device::is_revoked(device, user)) {
        return Ok(());
    }
    if let Some(password) = password {
        return check_password(app, user, password, request.client()).await;
    }
    match app.authenticator.optional(request).await? {
        Some(caller) if caller.user.id == user.id => Ok(()),
        _ => Err(ApiError::ConfirmationRequired),
    }
}

/// Checks the password. A wrong one counts like one at a login with the address.
async fn check_password(
    app: &App,
    user: &User,
    password: &Password,
    client: &ClientInfo,
) -> Result<(), ApiError> {
    let target = Target {
        typed: app.lockout.hasher.email(&user.email),
        user_id: Some(user.id),
        device: None,
    };
    let attempt = app.lockout.attempt(&target, client).await?;
    let stored = app
        .accounts
        .credentials
        .find_password(user.id, client.received_at);
    let compared = async {
        let stored = stored.await?.ok_or(ApiError::InvalidVerificationToken)?;
        Ok::<_, ApiError>(telemetry::hashing(|| app.hasher.verify(password, &stored))?)
    };
    match compared.await {
        Ok(Verification::Mismatch) => {
            let (audit, event) = (&app.accounts.audit, Event::EmailVerification);
            record_failure(audit, Some(user.id), event, attempt.locks(), client).await?;
            Err(ApiError::SignedInInvalidCredentials)
        }
        Ok(_) => {
            attempt.forgive(client).await;
            Ok(())
        }
        Err(error) => {
            attempt.take_back(client).await;
            Err(error)
        }
    }
}

/// Removes the account ("this wasn't me"), with the token of a mail's rejection link or of its verification link.
async fn reject(app: &App, token: &TokenHash, client: &ClientInfo) -> Result<Response, ApiError> {
    let (accounts, now) = (&app.accounts, client.received_at);
    let (rejection, verification) = tokio::try_join!(
        accounts
            .mailed_tokens
            .find(Purpose::RejectEmail, token, now),
        accounts
            .mailed_tokens
            .find(Purpose::VerifyEmail, token, now),
    )?;
    let owner = rejection.or(verification);
    let owner = owner.ok_or(ApiError::InvalidVerificationToken)?;
    match accounts.remove(owner, client).await? {
        true => Ok(Response::done("The account was removed.")),
        false => Err(ApiError::InvalidVerificationToken),
    }
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: AccessTokenGuard,
    accounts: UnprovenAccounts,
    authenticator: Authenticator,
    codes: MailedCodes,
    device_tokens: DeviceTokenVerifier,
    lockout: LoginLockout,
    hasher: PasswordHasher,
    confirmation_is_required: bool,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let modes = |text: &str| match text {
            "confirmed" => Some(true),
            "link" => Some(false),
            _ => None,
        };
        let mode = environment.optional("EMAIL_VERIFICATION", "confirmed or link", modes);
        let app = Self {
            guard: AccessTokenGuard::public_with_access_tokens(&mut environment, LIMIT),
            accounts: UnprovenAccounts::from_env(&mut environment),
            authenticator: Authenticator::from_env(&mut environment),
            codes: MailedCodes::from_env(&mut environment),
            device_tokens: DeviceTokenVerifier::from_env(&mut environment),
            lockout: LoginLockout::from_env(&mut environment),
            hasher: PasswordHasher::from_env(&mut environment),
            confirmation_is_required: mode.unwrap_or(true),
        };
        environment.finish(app)
    }
}
