use secrecy::{ExposeSecret, SecretString};
use shared::api::Field;
use shared::api::two_factor_verify::{TwoFactorVerifyAnswer, TwoFactorVerifyRequest};
use shared::config::Environment;
use shared::domain::backup_code::{BackupCodeHash, COUNT};
use shared::domain::code::Code;
use shared::domain::email_token::{self, Purpose};
use shared::domain::password::Password;
use shared::domain::session::SessionId;
use shared::domain::totp::{Step, TotpCode};
use shared::domain::user::{TwoFactorDevice, User};
use shared::error::ApiError;
use shared::http::authentication::Caller;
use shared::http::password_check::Reauthentication;
use shared::http::second_factor::{Factor, Parts, check_room, mint_backup_codes};
use shared::http::{Request, Response};
use shared::store::audit::{self, Event, Outcome};
use shared::store::dynamodb::{TransactionError, Write};
use shared::store::mailed_tokens::MailedTokens;
use shared::store::outbox::{Kind, Links};
use shared::store::two_factor::StoredDevice;
use shared::{StartError, clock, random};

/// Tries at a change that meets another change of the same record.
const TRIES: u32 = 3;

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

/// Which part of the transaction was refused.
#[derive(Clone, Copy)]
enum Refused {
    /// The device was confirmed meanwhile.
    Confirmed,
    /// The code has been used meanwhile.
    FactorUsed,
    /// The record has changed since it was read.
    Stale,
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Confirmed => Self::TwoFactorAlreadyEnabled,
            Refused::FactorUsed => Self::TwoFactorUsed,
            Refused::Stale => Self::ServiceUnavailable("the record kept changing".into()),
        }
    }
}

type BackupCodes = Vec<(SecretString, BackupCodeHash)>;

pub async fn verify(app: &App, request: Request) -> Result<Response, ApiError> {
    answer(app, request).await.map_err(ApiError::of_signed_in)
}

async fn answer(app: &App, request: Request) -> Result<Response, ApiError> {
    let caller = app.parts.authenticator.required(&request).await?;
    let body: TwoFactorVerifyRequest = request.json()?;
    let verification = Verification::from(body);
    let codes = match verification.regenerate {
        true => Some(regenerate(app, &caller, &verification, &request).await?),
        false => confirm(app, &caller, &verification, &request).await?,
    };
    let shown = codes
        .as_ref()
        .map(|codes| codes.iter().map(|(code, _)| code.expose_secret()).collect());
    Ok(Response::ok(
        match (&codes, verification.regenerate) {
            (_, true) => "The backup codes were renewed.",
            (Some(_), false) => "Two-factor authentication is on. Keep the backup codes.",
            (None, false) => "The device was added.",
        },
        TwoFactorVerifyAnswer {
            backup_codes: shown,
        },
    ))
}

/// Makes a pending device an active one; with the first one the second factor is on.
async fn confirm(
    app: &App,
    caller: &Caller,
    verification: &Verification,
    request: &Request,
) -> Result<Option<BackupCodes>, ApiError> {
    let user = &caller.user;
    let device = pending_device(app, user, verification.device_id.as_deref(), request).await?;
    let second_factor = &app.parts.second_factor;
    let (code, event) = (&verification.code, Event::TwoFactorVerify);
    // Where the device was set up, its user has been proven for it.
    if device.session_id != Some(caller.session_id) {
        let (check, password) = (&app.reauthentication, verification.password.as_ref());
        check.check(caller, password, event, request).await?;
    }
    let checked = second_factor.check_pending(user, &device, code, event, request);
    let (step, attempt) = checked.await?;
    let result = turn_on(app, caller, &device, step, request).await;
    second_factor
        .settle_attempt(&attempt, &result, request)
        .await;
    result
}

async fn turn_on(
    app: &App,
    caller: &Caller,
    device: &StoredDevice,
    step: Step,
    request: &Request,
) -> Result<Option<BackupCodes>, ApiError> {
    let (mut user, sessions) = (caller.user.clone(), &app.parts.authenticator.sessions);
    for _ in 0..TRIES {
        // Set up before there was a second factor, or without it: it needs one by now.
        if user.two_factor_enabled && !device.is_stepped_up {
            return Err(ApiError::TwoFactorRequired);
        }
        check_room(&user)?;
        let codes = (!user.two_factor_enabled).then(mint_backup_codes);
        let activated = activate(
            app,
            (&user, caller.session_id),
            device,
            step,
            codes.as_ref(),
            request,
        );
        match activated.await {
            Ok(()) => {
                if codes.is_some() {
                    let others = sessions.revoke_others(caller.session_id, user.id);
                    clock::aftermath("removing the sessions that are over", others).await;
                }
                return Ok(codes);
            }
            Err(TransactionError::Refused(Refused::Stale)) => {
                let current = app.parts.users.find(user.id, request.received_at()).await?;
                // Nor does a session make it that is over by this change.
                let goes_on = |current: &User| {
                    current.session_epoch == user.session_epoch
                        || current.kept_session == Some(caller.session_id)
                };
                user = current
                    .filter(|current| current.is_active() && goes_on(current))
                    .ok_or(ApiError::TokenRevoked)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Refused::Stale.into())
}

/// The device that is named, or else the newest that is pending.
async fn pending_device(
    app: &App,
    user: &User,
    id: Option<&str>,
    request: &Request,
) -> Result<StoredDevice, ApiError> {
    let store = &app.parts.second_factor.store;
    let devices = store.find_devices(user.id, request.received_at()).await?;
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

async fn activate(
    app: &App,
    (user, session): (&User, SessionId),
    device: &StoredDevice,
    step: Step,
    codes: Option<&BackupCodes>,
    request: &Request,
) -> Result<(), TransactionError<Refused>> {
    let (now, origin, store) = (
        request.received_at(),
        request.origin(),
        &app.parts.second_factor.store,
    );
    let mut changed = user.clone();
    changed.two_factor_enabled = true;
    changed.two_factor_devices.push(TwoFactorDevice {
        id: device.id().to_owned(),
        name: device.name.clone(),
        confirmed_at: now,
    });
    let mut writes = vec![Write::new(
        store.confirm_device(user.id, device, step, now),
        Refused::Confirmed,
    )];
    let mut add = |item| writes.push(Write::new(item, Refused::Stale));
    if let Some(codes) = codes {
        changed.backup_codes_left = COUNT as u32;
        for (_, hash) in codes {
            add(store.create_backup_code(user.id, hash, now));
        }
        let (secret, purpose) = (&app.email_token_secret, Purpose::UndoTwoFactor);
        let (token_id, token) = email_token::mint(secret, purpose, random::bytes());
        add(app.mailed_tokens.create_undo(&token, user.id, now));
        changed.undo_token = Some(token);
        let (kind, language) = (Kind::TwoFactorOn, request.language());
        let links = Links::button(token_id);
        add(app
            .parts
            .outbox
            .create(kind, user, &links, language, origin));
    }
    let (event, success) = (Event::TwoFactorVerify, Outcome::Success);
    let ends_sessions = codes.is_some().then_some(session);
    add(app
        .parts
        .users
        .update_two_factor(&changed, ends_sessions, now));
    add(app.parts.audit.create(user.id, event, success, origin));
    app.parts.dynamodb.transact(writes).await?;
    audit::log(Some(user.id), event, success, origin);
    Ok(())
}

/// New backup codes in the place of the old ones, for a code of an active device.
async fn regenerate(
    app: &App,
    caller: &Caller,
    verification: &Verification,
    request: &Request,
) -> Result<BackupCodes, ApiError> {
    let user = &caller.user;
    if !user.two_factor_enabled {
        return Err(ApiError::TwoFactorNotEnabled);
    }
    let second_factor = &app.parts.second_factor;
    let event = Event::BackupCodesRegeneration;
    let (check, password) = (&app.reauthentication, verification.password.as_ref());
    check.check(caller, password, event, request).await?;
    let code = Code::Totp(verification.code.clone());
    let factor = second_factor.check(user, &code, event, request).await?;
    let result = renew_codes(app, user, &factor, event, request).await;
    second_factor.settle(&factor, &result, request).await;
    result
}

async fn renew_codes(
    app: &App,
    user: &User,
    factor: &Factor,
    event: Event,
    request: &Request,
) -> Result<BackupCodes, ApiError> {
    let store = &app.parts.second_factor.store;
    let (now, origin, success) = (request.received_at(), request.origin(), Outcome::Success);
    let codes = mint_backup_codes();
    let changed = User {
        backup_codes_left: COUNT as u32,
        ..user.clone()
    };
    let mut writes = vec![Write::new(
        factor.write(store, request),
        Refused::FactorUsed,
    )];
    let mut add = |item| writes.push(Write::new(item, Refused::Stale));
    for old in store.find_backup_codes(user.id, now).await? {
        add(store.remove_backup_code(user.id, &old));
    }
    for (_, hash) in &codes {
        add(store.create_backup_code(user.id, hash, now));
    }
    add(app.parts.users.update_two_factor(&changed, None, now));
    add(app.parts.audit.create(user.id, event, success, origin));
    app.parts.dynamodb.transact(writes).await?;
    audit::log(Some(user.id), event, success, origin);
    Ok(codes)
}

/// What this endpoint may touch.
pub struct App {
    pub parts: Parts,
    reauthentication: Reauthentication,
    mailed_tokens: MailedTokens,
    email_token_secret: SecretString,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let parts = Parts::from_env(&mut environment);
        let (dynamodb, table) = (parts.dynamodb.clone(), environment.text("USERS_TABLE"));
        let app = Self {
            reauthentication: environment.reauthentication(&parts.dynamodb, &parts.audit),
            mailed_tokens: MailedTokens::new(dynamodb, table),
            email_token_secret: environment.secret("EMAIL_TOKEN_SECRET"),
            parts,
        };
        environment.finish(app)
    }
}
