use shared::StartError;
use shared::api::Field;
use shared::api::two_factor_setup::{TwoFactorSetupAnswer, TwoFactorSetupRequest};
use shared::auth::authentication::Caller;
use shared::auth::reauthentication::Reauthentication;
use shared::auth::two_factor::{Refused, TwoFactor, VerifiedCode, check_device_count};
use shared::config::Environment;
use shared::domain::client_info::ClientInfo;
use shared::domain::id::Id;
use shared::domain::person_name::PersonName;
use shared::domain::totp::{TotpSecret, account_label};
use shared::domain::user::TwoFactorDevice;
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::serve::{AuthenticatedGuard, Endpoint};
use shared::store::audit::{Audit, Event};
use shared::store::dynamodb::{TransactionError, Write};
use shared::store::sessions::Sessions;
use shared::store::two_factor::StoredDevice;
use shared::store::users::Users;
use shared::{random, timing};

/// The most devices of an account that wait for their first code.
const MAX_PENDING: usize = 5;
const DEFAULT_NAME: &str = "Authenticator";

pub async fn set_up(app: &App, caller: Caller, request: Request) -> Result<Response, ApiError> {
    let added = add(app, &caller, &request).await;
    added.map_err(ApiError::for_signed_in)
}

async fn add(app: &App, caller: &Caller, request: &Request) -> Result<Response, ApiError> {
    let (user, client) = (&caller.user, request.client());
    let body: TwoFactorSetupRequest = request.optional_json()?;
    let name = body.device_name.map(Field::into_inner);
    let code = body.token.map(Field::into_inner);
    let password = body.password.map(Field::into_inner);
    check_device_count(user)?;
    if user.two_factor_enabled && code.is_none() {
        return Err(ApiError::TwoFactorRequired);
    }
    // A stolen access token must not be enough to lock the owner out; a further device needs a code as well (ASVS 5.0,
    // 7.5.1).
    let (check, event) = (&app.reauthentication, Event::TwoFactorSetup);
    check
        .check(caller, password.as_ref(), event, client)
        .await?;
    let two_factor = &app.two_factor;
    let checked = two_factor.check_if_enabled(user, code.as_ref(), event, client);
    let code = checked.await?;
    let id = Id::<TwoFactorDevice>::new(client.received_at, random::bytes()).to_string();
    let secret = TotpSecret::new(random::bytes());
    let name = name.as_ref().map_or(DEFAULT_NAME, PersonName::as_str);
    let device = (id.as_str(), name, &secret);
    let written = write(app, caller, device, code.as_ref(), client).await;
    let result = written.map_err(ApiError::from);
    if let Some(code) = &code {
        two_factor.settle(code, &result, client).await;
    }
    result?;
    if code.is_some_and(|code| code.is_backup_code()) {
        let others = app.sessions.revoke_others(caller.session_id, user.id);
        timing::best_effort("removing the sessions that are over", others).await;
    }

    let devices = user.two_factor_devices.iter();
    let others = devices.map(|device| device.name.as_str());
    let account = &account_label(user.email.as_str(), name, &id, others);
    let answer = TwoFactorSetupAnswer {
        secret: secret.base32(),
        otpauth_url: secret.url(&app.issuer, account),
        qr_code_url: secret.qr_code_url(&app.issuer, account),
        device_id: id,
    };
    Ok(Response::ok(
        "Add the account to the app, then verify a code.",
        answer,
    ))
}

/// Writes the device, pending until its first code is verified, and uses up the code that authorises it.
async fn write(
    app: &App,
    caller: &Caller,
    (id, name, secret): (&str, &str, &TotpSecret),
    code: Option<&VerifiedCode>,
    client: &ClientInfo,
) -> Result<(), TransactionError<Refused>> {
    let (user, session_id, now) = (&caller.user, caller.session_id, client.received_at);
    let store = &app.two_factor.store;
    let used = code.map(|code| app.two_factor.use_up(code, caller, &app.users, client));
    let (mut writes, mut events) = used.unwrap_or_default();
    events.insert(0, Event::TwoFactorSetup);
    let mut add = |item, refused| writes.push(Write::new(item, refused));
    let sealed = app.two_factor.seal(user.id, id, secret);
    let (name, is_stepped_up) = (name.to_owned(), code.is_some());
    let device = StoredDevice::pending(id, name, sealed, is_stepped_up, session_id, now);
    add(store.create_device(user.id, &device), Refused::Stale);
    // The oldest pending devices are removed, so that they do not pile up.
    let devices = store.find_devices(user.id, now).await?;
    let is_pending = |device: &&StoredDevice| device.confirmed_at.is_none();
    let pending: Vec<_> = devices.iter().filter(is_pending).collect();
    let surplus = (pending.len() + 1).saturating_sub(MAX_PENDING);
    for oldest in pending.into_iter().take(surplus) {
        add(store.remove_device(user.id, oldest.id()), Refused::Stale);
    }
    app.audit
        .commit(user.id, &events, client, writes, Refused::Stale)
        .await
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: AuthenticatedGuard,
    sessions: Sessions,
    users: Users,
    audit: Audit,
    two_factor: TwoFactor,
    reauthentication: Reauthentication,
    issuer: String,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: AuthenticatedGuard::from_env(&mut environment, Some(Endpoint::TWO_FACTOR)),
            sessions: Sessions::from_env(&mut environment),
            users: Users::from_env(&mut environment),
            audit: Audit::from_env(&mut environment),
            two_factor: TwoFactor::from_env(&mut environment),
            reauthentication: Reauthentication::from_env(&mut environment),
            issuer: environment.text("APP_NAME"),
        };
        environment.finish(app)
    }
}
