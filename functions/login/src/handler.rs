use std::time::Duration;

use secrecy::SecretString;
use shared::StartError;
use shared::api::Field;
use shared::api::login::LoginRequest;
use shared::config::Environment;
use shared::domain::code::Code;
use shared::domain::device_token::{DeviceTokenIssuer, DeviceTokenVerifier};
use shared::domain::email_token::{self, Purpose};
use shared::domain::password::Password;
use shared::domain::password_hash::{PasswordHasher, Verification};
use shared::domain::user::{NotAdmitted, Status, User};
use shared::error::ApiError;
use shared::http::cookie_mode::Transport;
use shared::http::guard::{Endpoint, Guard};
use shared::http::lockout::LoginLockout;
use shared::http::password_check::record_failure;
use shared::http::second_factor::SecondFactor;
use shared::http::token_issuer::TokenIssuer;
use shared::http::{Request, Response};
use shared::store::audit::{self, Audit, Event, Outcome};
use shared::store::credentials::Credentials;
use shared::store::dynamodb::{DynamoDb, Write};
use shared::store::outbox::{Kind, Links, Outbox};
use shared::store::reset_tokens::ResetTokens;
use shared::store::sessions::Sessions;
use shared::store::users::Users;
use shared::{random, telemetry};

use crate::account::{Account, Identifier};
use crate::sign_in::{Proof, rehash, sign_in};

/// Failures in a row, wrong passwords and codes together, after which a new password is set by mail.
const MAX_FAILURES: u32 = 100;

/// What a client sends.
pub struct Login {
    pub identifier: Identifier,
    pub password: Password,
    pub code: Option<Code>,
    pub remember_me: bool,
    pub transport: Transport,
}

impl Login {
    fn read(request: &Request) -> Result<Self, ApiError> {
        let transport = Transport::asked_for(request)?;
        let body = request.json_with(LoginRequest::check_identifier)?;
        Ok(Self {
            identifier: Identifier::of(body.email, body.username, body.identifier),
            password: body.password.into_inner(),
            code: body.two_factor_token.map(Field::into_inner),
            remember_me: body.remember_me.is_some_and(Field::into_inner),
            transport,
        })
    }
}

pub async fn login(app: &App, request: Request) -> Result<Response, ApiError> {
    let result = exchange(app, &request).await;
    let outcome = result.as_ref().map_or_else(ApiError::code, |_| "success");
    telemetry::count("Logins", &[("Outcome", outcome)]);
    result
}

async fn exchange(app: &App, request: &Request) -> Result<Response, ApiError> {
    let login = Login::read(request)?;
    let account = Account::find(app, &login.identifier, request).await;
    if let Err(ApiError::ServiceUnavailable(_)) = account {
        app.guard.give_back(request).await; // nobody's failure
    }
    let account = account?;
    let verification = telemetry::hashing(|| app.hasher.verify(&login.password, &account.hash));
    let is_wrong = matches!(verification, Ok(Verification::Mismatch));
    let result = match verification {
        Ok(verification) => judge(app, &login, &account, verification, request).await,
        Err(unknown_hash) => Err(unknown_hash.into()),
    };
    // What was no wrong password does not stay counted as one; a deleted account's right one does, as
    // it is answered like a wrong one.
    if !is_wrong && !matches!(result, Ok(_) | Err(ApiError::InvalidCredentials)) {
        let lockout = account.attempt.take_back(request);
        match &result {
            // The step that only lacks something else.
            Err(
                ApiError::TwoFactorRequired
                | ApiError::TwoFactorUsed
                | ApiError::EmailNotVerified
                | ApiError::AccountDisabled
                | ApiError::PasswordResetRequired
                | ApiError::ServiceUnavailable(_),
            ) => {
                tokio::join!(lockout, app.guard.give_back_to_owner(request));
            }
            _ => lockout.await,
        }
    }
    result
}

/// What is said of the account is said only after the right password: whoever knows it may know this
/// too.
async fn judge(
    app: &App,
    login: &Login,
    account: &Account,
    verification: Verification,
    request: &Request,
) -> Result<Response, ApiError> {
    let is_match = verification != Verification::Mismatch;
    let Some(user) = account.user.as_ref().filter(|_| is_match) else {
        return refuse(app, account, ApiError::InvalidCredentials, request).await;
    };
    let admitted = match user.admit(app.verification_is_required) {
        Ok(admitted) => admitted,
        Err(NotAdmitted::Deleted) => {
            return refuse(app, account, ApiError::InvalidCredentials, request).await;
        }
        Err(NotAdmitted::Disabled) => {
            return refuse(app, account, ApiError::AccountDisabled, request).await;
        }
        Err(NotAdmitted::Unverified) => {
            return refuse(app, account, ApiError::EmailNotVerified, request).await;
        }
        Err(NotAdmitted::ResetRequired) => {
            return refuse(app, account, ApiError::PasswordResetRequired, request).await;
        }
    };
    let factor = match (user.two_factor_enabled, &login.code) {
        (false, _) => None,
        (true, None) => {
            return refuse(app, account, ApiError::TwoFactorRequired, request).await;
        }
        (true, Some(code)) => {
            let checked = app.second_factor.check(user, code, Event::Login, request);
            match checked.await {
                Ok(factor) => Some(factor),
                Err(error) => {
                    if let ApiError::TwoFactorInvalid = error {
                        count_failure(app, user, request).await?;
                    }
                    return Err(error);
                }
            }
        }
    };
    let hashes = match verification {
        Verification::MatchOutdated => rehash(app, user.id, login, account, request).await,
        _ => Ok([account.hash.clone(), account.hash.clone()]),
    };
    let result = match hashes {
        Ok(hashes) => {
            let proof = Proof {
                hashes,
                factor: factor.as_ref(),
            };
            sign_in(app, admitted, account, proof, login, request).await
        }
        Err(error) => Err(error),
    };
    if let Some(factor) = &factor {
        app.second_factor.settle(factor, &result, request).await;
    }
    result
}

/// The failure is recorded in the same time for everybody: with a write under the user, or with a
/// stand-in where there is none (or none any more).
async fn refuse(
    app: &App,
    account: &Account,
    error: ApiError,
    request: &Request,
) -> Result<Response, ApiError> {
    let known = account.user.as_ref();
    let known = known.filter(|user| user.status != Status::Deleted);
    let id = known.map(|user| user.id);
    let is_failure = matches!(error, ApiError::InvalidCredentials);
    let locks = account.attempt.locks() && is_failure;
    let record = record_failure(&app.audit, id, Event::Login, locks, request);
    let count = async {
        match known {
            Some(user) if is_failure => count_failure(app, user, request).await,
            None => Ok(app.audit.stand_in_for_update(request.origin()).await?),
            Some(_) => Ok(()), // said after the right password alone
        }
    };
    let (recorded, counted) = tokio::join!(record, count);
    recorded?;
    counted?;
    Err(error)
}

/// Counts a wrong password or code. So many in a row, without a success between, end in a new password by mail,
/// however slowly they come (NIST SP 800-63B-4, 3.2.2).
async fn count_failure(app: &App, user: &User, request: &Request) -> Result<(), ApiError> {
    let failures = app.users.count_failure(user.id).await?;
    let is_last = failures.is_some_and(|failures| failures >= MAX_FAILURES);
    if !is_last || user.password_reset_required || !user.is_active() {
        return Ok(());
    }
    let (secret, purpose) = (&app.email_token_secret, Purpose::ResetPassword);
    let (token_id, token) = email_token::mint(secret, purpose, random::bytes());
    app.reset_tokens.create(&token, Some(user.id)).await?;
    let (event, origin) = (Event::ResetRequirement, request.origin());
    let (kind, links) = (Kind::ResetRequired, Links::button(token_id));
    let writes = [
        app.users.require_reset(user.id, &token),
        app.outbox
            .create(kind, user, &links, request.language(), origin),
        app.audit.create(user.id, event, Outcome::Success, origin),
    ];
    let writes = Write::all(writes, NotActive);
    app.dynamodb.transact(writes).await?;
    audit::log(Some(user.id), event, Outcome::Success, origin);
    Ok(())
}

/// Deleted or disabled meanwhile.
#[derive(Clone, Copy)]
struct NotActive;

impl From<NotActive> for ApiError {
    fn from(_: NotActive) -> Self {
        Self::InvalidCredentials
    }
}

/// What this endpoint may touch.
pub struct App {
    pub guard: Guard,
    pub dynamodb: DynamoDb,
    pub users: Users,
    pub credentials: Credentials,
    pub audit: Audit,
    pub outbox: Outbox,
    pub sessions: Sessions,
    pub refresh_expiry: Duration,
    pub remember_me_expiry: Duration,
    pub session_max_age: Duration,
    pub verification_is_required: bool,
    pub tokens: TokenIssuer,
    pub device_token_issuer: DeviceTokenIssuer,
    pub device_tokens: DeviceTokenVerifier,
    pub lockout: LoginLockout,
    pub second_factor: SecondFactor,
    reset_tokens: ResetTokens,
    email_token_secret: SecretString,
    pub hasher: PasswordHasher,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let dynamodb = environment.dynamodb();
        let users_table = environment.text("USERS_TABLE");
        let credentials_table = environment.text("CREDENTIALS_TABLE");
        let audit = Audit::new(dynamodb.clone(), users_table.clone());
        let outbox = Outbox::new(users_table.clone());
        let second_factor = environment.second_factor(
            dynamodb.clone(),
            credentials_table.clone(),
            audit.clone(),
            outbox.clone(),
        );
        let endpoint = Endpoint::per_client("LOGIN", "5/15m").of_failures();
        let app = Self {
            guard: Guard::for_guests(&mut environment, endpoint),
            users: Users::new(dynamodb.clone(), users_table.clone()),
            credentials: Credentials::new(dynamodb.clone(), credentials_table),
            audit,
            outbox,
            dynamodb,
            sessions: environment.sessions(),
            refresh_expiry: environment.refresh_expiry(),
            remember_me_expiry: environment.remember_me_expiry(),
            session_max_age: environment.session_max_age(),
            verification_is_required: environment.boolean("REQUIRE_VERIFIED_EMAIL", false),
            tokens: environment.token_issuer(),
            device_token_issuer: environment.device_token_issuer(),
            device_tokens: environment.device_token_verifier(),
            lockout: environment.login_lockout(),
            reset_tokens: environment.reset_tokens(),
            email_token_secret: environment.secret("EMAIL_TOKEN_SECRET"),
            second_factor,
            hasher: environment.password_hasher(),
        };
        environment.finish(app)
    }
}
