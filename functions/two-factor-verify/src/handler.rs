use secrecy::{ExposeSecret, SecretString};
use shared::StartError;
use shared::api::Field;
use shared::api::two_factor_verify::{TwoFactorVerifyAnswer, TwoFactorVerifyRequest};
use shared::auth::authentication::Caller;
use shared::auth::email_tokens::EmailTokens;
use shared::auth::reauthentication::Reauthentication;
use shared::auth::retry::write_current;
use shared::auth::two_factor::{
    Refused, TwoFactor, VerifiedCode, check_device_count, mint_backup_codes,
};
use shared::config::Environment;
use shared::domain::backup_code::{BackupCodeHash, COUNT};
use shared::domain::client_info::ClientInfo;
use shared::domain::code::Code;
use shared::domain::email_token::Purpose;
use shared::domain::password::Password;
use shared::domain::totp::{Step, TotpCode};
use shared::domain::user::{TwoFactorDevice, User};
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::serve::{AuthenticatedGuard, Endpoint};
use shared::store::audit::{Audit, Event};
use shared::store::dynamodb::{TransactionError, Write};
use shared::store::mailed_tokens::MailedTokens;
use shared::store::outbox::{Kind, Links, Outbox};
use shared::store::sessions::Sessions;
use shared::store::two_factor::StoredDevice;
use shared::store::users::Users;
use shared::timing;

/// A valid request.
struct Verification {
    code: TotpCode,
    device_id: Option<String>,
    regenerate: bool,
    password: Option<Password>,
}

impl From<TwoFactorVerifyRequest> for Verification {
    fn from(body: TwoFactorVerifyRequest) -> Self {
        Self {
            code: body.token.into_inner(),
            device_id: body.device_id.map(Field::into_inner),
            regenerate: body.regenerate.is_some_and(Field::into_inner),
            password: body.password.map(Field::into_inner),
        }
    }
}

type BackupCodes = Vec<(SecretString, BackupCodeHash)>;

pub async fn verify(app: &App, caller: Caller, request: Request) -> Result<Response, ApiError> {
    let answered = answer(app, &caller, &request).await;
    answered.map_err(ApiError::for_signed_in)
}

async fn answer(app: &App, caller: &Caller, request: &Request) -> Result<Response, ApiError> {
    let client = request.client();
    let body: TwoFactorVerifyRequest = request.json()?;
    let verification = Verification::from(body);
    let codes = match verification.regenerate {
        true => Some(regenerate(app, caller, &verification, client).await?),
        false => confirm(app, caller, &verification, client).await?,
    };
    let message = match (&codes, verification.regenerate) {
        (_, true) => "The backup codes were renewed.",
        (Some(_), false) => "Two-factor authentication is on. Keep the backup codes.",
        (None, false) => "The device was added.",
    };
    let shown = codes
        .as_ref()
        .map(|codes| codes.iter().map(|(code, _)| code.expose_secret()).collect());
    let answer = TwoFactorVerifyAnswer {
        backup_codes: shown,
    };
    Ok(Response::ok(message, answer))
}

/// Confirms a pending device by its first code. The first device turns the second factor on and returns backup codes.
async fn confirm(
    app: &App,
    caller: &Caller,
    verification: &Verification,
    client: &ClientInfo,
) -> Result<Option<BackupCodes>, ApiError> {
    let user = &caller.user;
    let device = pending_device(app, user, verification.device_id.as_deref(), client).await?;
    let (code, event) = (&verification.code, Event::TwoFactorVerify);
    // The session that set the device up has already reauthenticated the user.
    if device.session_id != Some(caller.session_id) {
        let (check, password) = (&app.reauthentication, verification.password.as_ref());
        check.check(caller, password, event, client).await?;
    }
    let two_factor = &app.two_factor;
    let checked = two_factor.check_pending(user, &device, code, event, client);
    let (step, attempt) = checked.await?;
    let result = turn_on(app, caller, &device, step, client).await;
    two_factor.settle_attempt(&attempt, &result, client).await;
    result
}

/// Returns the device with this id, or else the newest pending one.
async fn pending_device(
    app: &App,
    user: &User,
    id: Option<&str>,
    client: &ClientInfo,
) -> Result<StoredDevice, ApiError> {
    let store = &app.two_factor.store;
    let devices = store.find_devices(user.id, client.received_at).await?;
    let is_pending = |device: &StoredDevice| device.confirmed_at.is_none();
    let mut devices = devices.into_iter();
    match id {
        Some(id) => match devices.find(|device| device.id() == id) {
            Some(device) if is_pending(&device) => Ok(device),
            Some(_) => Err(ApiError::TwoFactorAlreadyEnabled),
            None => Err(ApiError::NotFound),
        },
        None => match devices.rfind(is_pending) {
            Some(device) => Ok(device),
            None if user.two_factor_enabled => Err(ApiError::TwoFactorAlreadyEnabled),
            None => Err(ApiError::TwoFactorNotEnabled),
        },
    }
}

/// Refuses a device that was set up without a code although one is required now, and a device beyond the maximum.
fn check_device(user: &User, device: &StoredDevice) -> Result<(), ApiError> {
    if user.two_factor_enabled && !device.is_stepped_up {
        return Err(ApiError::TwoFactorRequired);
    }
    check_device_count(user)
}

async fn turn_on(
    app: &App,
    caller: &Caller,
    device: &StoredDevice,
    step: Step,
    client: &ClientInfo,
) -> Result<Option<BackupCodes>, ApiError> {
    check_device(&caller.user, device)?;
    let codes = &mint_backup_codes();
    let written = write_current(
        caller.user.clone(),
        |user| activate(app, (user, caller), device, step, codes, client),
        || async {
            let user = caller.reread(&app.users, client.received_at).await?;
            check_device(&user, device)?;
            Ok(user)
        },
    );
    let user = written.await?;
    if user.two_factor_enabled {
        return Ok(None);
    }
    let others = app.sessions.revoke_others(caller.session_id, user.id);
    timing::best_effort("removing the sessions that are over", others).await;
    Ok(Some(codes.clone()))
}

/// Writes the active device. The first device turns the second factor on: these backup codes become valid, the other
/// sessions end, and the owner gets a mail with a link that undoes it.
async fn activate(
    app: &App,
    (user, caller): (User, &Caller),
    device: &StoredDevice,
    step: Step,
    codes: &BackupCodes,
    client: &ClientInfo,
) -> Result<(), TransactionError<Refused>> {
    let (store, now) = (&app.two_factor.store, client.received_at);
    let mut changed = user.clone();
    changed.two_factor_enabled = true;
    changed.two_factor_devices.push(TwoFactorDevice {
        id: device.id().to_owned(),
        name: device.name.clone(),
        confirmed_at: now,
    });
    let confirmation = store.confirm_device(user.id, device, step, now);
    let mut writes = vec![Write::new(confirmation, Refused::AlreadyConfirmed)];
    let mut add = |item| writes.push(Write::new(item, Refused::Stale));
    let turns_on = !user.two_factor_enabled;
    if turns_on {
        changed.backup_codes_left = COUNT as u32;
        for (_, hash) in codes {
            add(store.create_backup_code(user.id, hash, now));
        }
        let (token_id, token) = app.email_tokens.mint(Purpose::UndoTwoFactor);
        add(app.mailed_tokens.create_undo(&token, user.id, now));
        changed.undo_token = Some(token);
        let (kind, links) = (Kind::TwoFactorOn, Links::button(token_id));
        add(app.outbox.create(kind, &user, &links, client));
    }
    let kept = turns_on.then_some(caller.session_id);
    add(app.users.update_two_factor(&changed, kept, now));
    let events = [Event::TwoFactorVerify];
    app.audit
        .commit(user.id, &events, client, writes, Refused::Stale)
        .await
}

/// Replaces the backup codes; a code of an active device authorises that.
async fn regenerate(
    app: &App,
    caller: &Caller,
    verification: &Verification,
    client: &ClientInfo,
) -> Result<BackupCodes, ApiError> {
    let user = &caller.user;
    if !user.two_factor_enabled {
        return Err(ApiError::TwoFactorNotEnabled);
    }
    let event = Event::BackupCodesRegeneration;
    let (check, password) = (&app.reauthentication, verification.password.as_ref());
    check.check(caller, password, event, client).await?;
    let code = Code::Totp(verification.code.clone());
    let code = app.two_factor.check(user, &code, event, client).await?;
    let renewed = renew_codes(app, user, &code, event, client).await;
    let result = renewed.map_err(ApiError::from);
    app.two_factor.settle(&code, &result, client).await;
    result
}

async fn renew_codes(
    app: &App,
    user: &User,
    code: &VerifiedCode,
    event: Event,
    client: &ClientInfo,
) -> Result<BackupCodes, TransactionError<Refused>> {
    let (store, now) = (&app.two_factor.store, client.received_at);
    let codes = mint_backup_codes();
    let changed = User {
        backup_codes_left: COUNT as u32,
        ..user.clone()
    };
    let mut writes = vec![Write::new(code.write(store, client), Refused::CodeUsed)];
    let mut add = |item| writes.push(Write::new(item, Refused::Stale));
    for old in store.find_backup_codes(user.id, now).await? {
        add(store.remove_backup_code(user.id, &old));
    }
    for (_, hash) in &codes {
        add(store.create_backup_code(user.id, hash, now));
    }
    add(app.users.update_two_factor(&changed, None, now));
    app.audit
        .commit(user.id, &[event], client, writes, Refused::Stale)
        .await?;
    Ok(codes)
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: AuthenticatedGuard,
    sessions: Sessions,
    users: Users,
    outbox: Outbox,
    audit: Audit,
    two_factor: TwoFactor,
    reauthentication: Reauthentication,
    mailed_tokens: MailedTokens,
    email_tokens: EmailTokens,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: AuthenticatedGuard::from_env(&mut environment, Some(Endpoint::TWO_FACTOR)),
            sessions: Sessions::from_env(&mut environment),
            users: Users::from_env(&mut environment),
            outbox: Outbox::from_env(&mut environment),
            audit: Audit::from_env(&mut environment),
            two_factor: TwoFactor::from_env(&mut environment),
            reauthentication: Reauthentication::from_env(&mut environment),
            mailed_tokens: MailedTokens::from_env(&mut environment),
            email_tokens: EmailTokens::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
