use shared::StartError;
use shared::api::MailedProof;
use shared::api::reset_confirm::ResetConfirmRequest;
use shared::auth::lockout::LoginLockout;
use shared::auth::mailed_codes::MailedCodes;
use shared::auth::retry::{Stale, write_current};
use shared::config::Environment;
use shared::domain::client_info::ClientInfo;
use shared::domain::email_token::{Purpose, TokenHash};
use shared::domain::mailed_code::CodePurpose;
use shared::domain::password::{Owner, Policy};
use shared::domain::password_hash::{PasswordHash, PasswordHasher};
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::serve::{Endpoint, PublicGuard};
use shared::store::audit::{Audit, Event};
use shared::store::credentials::Credentials;
use shared::store::dynamodb::{TransactionError, Write};
use shared::store::mailed_tokens::MailedTokens;
use shared::store::outbox::{Kind, Links, Outbox};
use shared::store::reset_tokens::ResetTokens;
use shared::store::sessions::Sessions;
use shared::store::two_factor::TwoFactorStore;
use shared::store::users::Users;
use shared::{random, telemetry, timing};

const LIMIT: Endpoint = Endpoint::per_client("PASSWORD_RESET_CONFIRM", "5/15m");

pub async fn confirm_reset(app: &App, request: Request) -> Result<Response, ApiError> {
    let check = |body: &ResetConfirmRequest| body.check(&app.policy);
    let body = request.json_with(check)?;
    let (client, password) = (request.client(), body.new_password);
    let proof = MailedProof::of(body.token, body.request_token, body.code);
    let purposes = (Purpose::ResetPassword, CodePurpose::ResetPassword);
    let token = app.codes.token(purposes, proof, client).await?;
    let token = token.ok_or(ApiError::InvalidResetToken)?;
    let user = find_owner(app, &token, client).await?;
    // Checked again now that the owner is known, before the token is used: a refused password does not cost the token.
    let owner = Owner {
        email: Some(&user.email),
        username: user.username.as_ref(),
    };
    password.check_policy("new_password", &app.policy, owner)?;
    let password = password.into_inner();
    let hash = telemetry::hashing(|| app.hasher.hash(&password, random::bytes()));

    let (token, hash) = (&token, &hash);
    let written = write_current(
        user,
        |user| write(app, user, token, hash, client),
        // Fails if the token is no longer valid.
        || find_owner(app, token, client),
    );
    let user = written.await?;
    // The record already rejects the sessions.
    let tidy_up = async {
        app.sessions.revoke_all(user.id).await?;
        app.lockout.clear_all_failures(&user).await;
        app.reset_tokens.remove(token).await
    };
    timing::best_effort("removing what is over with a new password", tidy_up).await;
    Ok(Response::done("The password was set. Sign in with it now."))
}

async fn find_owner(app: &App, token: &TokenHash, client: &ClientInfo) -> Result<User, ApiError> {
    let id = app.reset_tokens.find_user(token).await?;
    let id = id.ok_or(ApiError::InvalidResetToken)?;
    let user = app.users.find(id, client.received_at).await?;
    user.filter(|user| user.is_active() && user.reset_token.as_ref() == Some(token))
        .ok_or(ApiError::InvalidResetToken)
}

/// Writes the password and removes the token in one transaction: the token works once, also in parallel requests, and
/// is not lost if the password is not written. If the account's address was not verified, nothing else of the account
/// is kept.
async fn write(
    app: &App,
    user: User,
    token: &TokenHash,
    hash: &PasswordHash,
    client: &ClientInfo,
) -> Result<(), TransactionError<Stale>> {
    let now = client.received_at;
    let mut items = vec![
        app.users.consume_reset_token(&user, token, now),
        app.credentials.reset_password(user.id, hash, now),
        app.outbox
            .create(Kind::PasswordWasReset, &user, &Links::none(), client),
    ];
    if !user.email_verified {
        items.push(app.users.keep_email(&user));
        let username = user.username.iter();
        items.extend(username.map(|username| app.users.release_username(username, user.id)));
        items.extend(app.two_factor.remove_all(user.id, now).await?);
        let rejection = user.rejection.iter();
        items.extend(rejection.map(|rejection| app.mailed_tokens.discard_rejection(rejection)));
    }
    let (events, writes) = ([Event::PasswordReset], Write::all(items, Stale));
    app.audit
        .commit(user.id, &events, client, writes, Stale)
        .await
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: PublicGuard,
    lockout: LoginLockout,
    users: Users,
    credentials: Credentials,
    outbox: Outbox,
    audit: Audit,
    reset_tokens: ResetTokens,
    codes: MailedCodes,
    two_factor: TwoFactorStore,
    mailed_tokens: MailedTokens,
    sessions: Sessions,
    policy: Policy,
    hasher: PasswordHasher,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: PublicGuard::public(&mut environment, LIMIT),
            lockout: LoginLockout::from_env(&mut environment),
            users: Users::from_env(&mut environment),
            credentials: Credentials::from_env(&mut environment),
            two_factor: TwoFactorStore::from_env(&mut environment),
            mailed_tokens: MailedTokens::from_env(&mut environment),
            outbox: Outbox::from_env(&mut environment),
            audit: Audit::from_env(&mut environment),
            reset_tokens: ResetTokens::from_env(&mut environment),
            codes: MailedCodes::from_env(&mut environment),
            sessions: Sessions::from_env(&mut environment),
            policy: Policy::from_env(&mut environment),
            hasher: PasswordHasher::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
