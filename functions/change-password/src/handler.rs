use shared::StartError;
use shared::api::Field;
use shared::api::change_password::{ChangePasswordAnswer, ChangePasswordRequest};
use shared::auth::authentication::Caller;
use shared::auth::reauthentication::PasswordCheck;
use shared::auth::token_issuer::deliver_device_token;
use shared::auth::two_factor::{TwoFactor, VerifiedCode};
use shared::config::Environment;
use shared::domain::client_info::ClientInfo;
use shared::domain::device_token::{Device, DeviceTokenIssuer};
use shared::domain::id::Id;
use shared::domain::password::{Owner, Policy};
use shared::domain::password_hash::PasswordHash;
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::serve::{AuthenticatedGuard, Endpoint};
use shared::store::audit::{Audit, Event};
use shared::store::credentials::Credentials;
use shared::store::dynamodb::{TransactionError, Write};
use shared::store::outbox::{Kind, Links, Outbox};
use shared::store::sessions::Sessions;
use shared::store::users::Users;
use shared::{random, telemetry, timing};

const LIMIT: Endpoint = Endpoint::per_caller("PASSWORD_CHANGE", "5/15m");

/// Why the change was not committed.
#[derive(Clone, Copy)]
enum Refused {
    /// Another request has used the code.
    CodeUsed,
    /// Another request has changed the password.
    PasswordChanged,
    /// Since the record was read, the account was deleted or disabled, or sessions were ended.
    Changed,
}

pub async fn change_password(
    app: &App,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    let changed = change(app, &caller, &request).await;
    changed.map_err(ApiError::for_signed_in)
}

async fn change(app: &App, caller: &Caller, request: &Request) -> Result<Response, ApiError> {
    let (user, client) = (&caller.user, request.client());
    let owner = Owner {
        email: Some(&user.email),
        username: user.username.as_ref(),
    };
    let check = |body: &ChangePasswordRequest| body.check_new_password(&app.policy, owner);
    let body = request.json_with(check)?;
    let (current, new) = (
        body.current_password.into_inner(),
        body.new_password.into_inner(),
    );
    let code = body.two_factor_token.map(Field::into_inner);
    let (check, event) = (&app.password_check, Event::PasswordChange);
    let old = check.verify(caller, &current, event, client).await?;
    let checked = app
        .two_factor
        .check_if_enabled(user, code.as_ref(), event, client);
    let code = checked.await?;
    let new = telemetry::hashing(|| app.password_check.hasher.hash(&new, random::bytes()));
    let result = write(app, caller, (&old, &new), code.as_ref(), client).await;
    if let Some(code) = &code {
        app.two_factor.settle(code, &result, client).await;
    }
    result?;
    // The record already rejects the other sessions and all device tokens.
    let device = Device {
        id: Id::new(client.received_at, random::bytes()),
        user_id: user.id,
    };
    let others = app
        .sessions
        .revoke_others_and_devices(caller.session_id, device, client);
    timing::best_effort("removing the sessions that are over", others).await;
    let token = app.device_tokens.issue(device, client.received_at);
    let (device_token, cookies) = deliver_device_token(token, request);
    let answer = ChangePasswordAnswer { device_token };
    Ok(Response::ok("The password was changed.", answer).with_cookies(cookies))
}

/// Writes the password and everything that follows from it: a pending reset link becomes invalid, and the owner gets a
/// mail.
async fn write(
    app: &App,
    caller: &Caller,
    (old, new): (&PasswordHash, &PasswordHash),
    code: Option<&VerifiedCode>,
    client: &ClientInfo,
) -> Result<(), ApiError> {
    let (user, now) = (&caller.user, client.received_at);
    let uses_backup_code = code.is_some_and(VerifiedCode::is_backup_code);
    // If several conditions fail, the first one is reported: the most informative refusal comes first.
    let use_code = code.map(|code| {
        let item = code.write(&app.two_factor.store, client);
        Write::new(item, Refused::CodeUsed)
    });
    let mut writes: Vec<_> = use_code.into_iter().collect();
    let password = app.credentials.change_password(user.id, old, new, now);
    writes.push(Write::new(password, Refused::PasswordChanged));
    let (kept, users) = (caller.session_id, &app.users);
    let record = users.record_new_password(user, kept, uses_backup_code, now);
    writes.push(Write::new(record, Refused::Changed));
    let backup_code = uses_backup_code.then_some(Kind::BackupCodeUsed);
    for kind in std::iter::once(Kind::PasswordChanged).chain(backup_code) {
        let mail = app.outbox.create(kind, user, &Links::none(), client);
        writes.push(Write::new(mail, Refused::Changed));
    }
    let (events, refused) = ([Event::PasswordChange], Refused::Changed);
    let committed = app.audit.commit(user.id, &events, client, writes, refused);
    match committed.await {
        Ok(()) => Ok(()),
        Err(TransactionError::Store(error)) => Err(error.into()),
        Err(TransactionError::Refused(Refused::CodeUsed)) => Err(ApiError::TwoFactorUsed),
        Err(TransactionError::Refused(Refused::PasswordChanged)) => {
            Err(ApiError::InvalidCredentials)
        }
        Err(TransactionError::Refused(Refused::Changed)) => {
            Err(changed_meanwhile(app, caller, code, client).await?)
        }
    }
}

/// Returns the error for a record that another request has changed: the session may be over or may need a code now.
async fn changed_meanwhile(
    app: &App,
    caller: &Caller,
    code: Option<&VerifiedCode>,
    client: &ClientInfo,
) -> Result<ApiError, ApiError> {
    let user = caller.reread(&app.users, client.received_at).await?;
    Ok(match user.two_factor_enabled && code.is_none() {
        true => ApiError::TwoFactorRequired,
        false => ApiError::ServiceUnavailable("the record was changed meanwhile".into()),
    })
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: AuthenticatedGuard,
    password_check: PasswordCheck,
    two_factor: TwoFactor,
    device_tokens: DeviceTokenIssuer,
    sessions: Sessions,
    users: Users,
    credentials: Credentials,
    outbox: Outbox,
    audit: Audit,
    policy: Policy,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: AuthenticatedGuard::from_env(&mut environment, Some(LIMIT)),
            password_check: PasswordCheck::from_env(&mut environment),
            two_factor: TwoFactor::from_env(&mut environment),
            device_tokens: DeviceTokenIssuer::from_env(&mut environment),
            sessions: Sessions::from_env(&mut environment),
            users: Users::from_env(&mut environment),
            credentials: Credentials::from_env(&mut environment),
            outbox: Outbox::from_env(&mut environment),
            audit: Audit::from_env(&mut environment),
            policy: Policy::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
