use shared::StartError;
use shared::api::Field;
use shared::api::two_factor_disable::TwoFactorDisableRequest;
use shared::auth::authentication::Caller;
use shared::auth::two_factor::{Refused, TwoFactor, VerifiedCode};
use shared::config::Environment;
use shared::domain::client_info::ClientInfo;
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::serve::{AuthenticatedGuard, Endpoint};
use shared::store::audit::{Audit, Event};
use shared::store::dynamodb::{TransactionError, Write};
use shared::store::items::TransactWriteItem;
use shared::store::outbox::{Kind, Links, Outbox};
use shared::store::sessions::Sessions;
use shared::store::users::Users;
use shared::timing;

pub async fn disable(app: &App, caller: Caller, request: Request) -> Result<Response, ApiError> {
    let removed = turn_off(app, &caller, &request).await;
    removed.map_err(ApiError::for_signed_in)
}

async fn turn_off(app: &App, caller: &Caller, request: &Request) -> Result<Response, ApiError> {
    let (user, client) = (&caller.user, request.client());
    let body: TwoFactorDisableRequest = request.json()?;
    let code = body.token.into_inner();
    let device_id = body.device_id.map(Field::into_inner);
    if !user.two_factor_enabled {
        return Err(ApiError::TwoFactorNotEnabled);
    }
    let mut left = user.clone();
    match &device_id {
        Some(id) => left.two_factor_devices.retain(|device| device.id != *id),
        None => left.two_factor_devices.clear(),
    }
    if left.two_factor_devices.len() == user.two_factor_devices.len() {
        return Err(ApiError::NotFound);
    }
    left.two_factor_enabled = !left.two_factor_devices.is_empty();

    let (two_factor, event) = (&app.two_factor, Event::TwoFactorDisable);
    let code = two_factor.check(user, &code, event, client).await?;
    let is_on = left.two_factor_enabled;
    let removed = remove(app, caller, left, &code, client).await;
    let result = removed.map_err(ApiError::from);
    two_factor.settle(&code, &result, client).await;
    result?;
    if !is_on || code.is_backup_code() {
        let others = app.sessions.revoke_others(caller.session_id, user.id);
        timing::best_effort("removing the sessions that are over", others).await;
    }
    Ok(Response::done(match is_on {
        true => "The device was removed.",
        false => "Two-factor authentication is off.",
    }))
}

/// The removals of devices and backup codes; the one that uses up the code is kept apart.
#[derive(Default)]
struct Removals {
    uses_code: Option<TransactWriteItem>,
    others: Vec<TransactWriteItem>,
}

impl Removals {
    fn add(&mut self, item: TransactWriteItem, uses_code: bool) {
        match uses_code {
            true => self.uses_code = Some(item),
            false => self.others.push(item),
        }
    }
}

/// Writes the remaining second factor. Without a device it is off, and the backup codes are removed.
async fn remove(
    app: &App,
    caller: &Caller,
    mut left: User,
    code: &VerifiedCode,
    client: &ClientInfo,
) -> Result<(), TransactionError<Refused>> {
    let (store, now) = (&app.two_factor.store, client.received_at);
    let is_off = !left.two_factor_enabled;
    let removals = removals(app, &left, code, client).await?;
    let uses_code = removals.uses_code;
    let uses_code = uses_code.unwrap_or_else(|| code.write(store, client));
    // If several conditions fail, the first one is reported: the most informative refusal comes first.
    let mut writes = vec![Write::new(uses_code, Refused::CodeUsed)];
    writes.extend(Write::all(removals.others, Refused::Stale));

    let (mut events, mut mails) = (vec![Event::TwoFactorDisable], Vec::new());
    if code.is_backup_code() {
        left.backup_codes_left = left.backup_codes_left.saturating_sub(1);
        events.push(Event::BackupCodeUse);
        mails.push(Kind::BackupCodeUsed);
    }
    if is_off {
        left.backup_codes_left = 0;
        left.undo_token = None;
        mails.push(Kind::TwoFactorOff);
    }
    for kind in mails {
        let mail = app.outbox.create(kind, &left, &Links::none(), client);
        writes.push(Write::new(mail, Refused::Stale));
    }
    let ends_sessions = is_off || code.is_backup_code();
    let kept = ends_sessions.then_some(caller.session_id);
    let update = app.users.update_two_factor(&left, kept, now);
    writes.push(Write::new(update, Refused::Stale));
    app.audit
        .commit(left.id, &events, client, writes, Refused::Stale)
        .await
}

/// Removes the devices that are not in `left`, and the backup codes if no device is left. Pending devices stay while
/// the second factor is on.
async fn removals(
    app: &App,
    left: &User,
    code: &VerifiedCode,
    client: &ClientInfo,
) -> Result<Removals, TransactionError<Refused>> {
    let (id, store, now) = (left.id, &app.two_factor.store, client.received_at);
    let is_off = !left.two_factor_enabled;
    let mut removals = Removals::default();
    for stored in store.find_devices(id, now).await? {
        let device = stored.id();
        let is_left = left.two_factor_devices.iter().any(|left| left.id == device);
        let is_pending = stored.confirmed_at.is_none();
        if is_left || (is_pending && !is_off) {
            continue;
        }
        let item = code.remove_device(store, device);
        removals.add(item, code.matches_device(device));
    }
    if is_off {
        for hash in store.find_backup_codes(id, now).await? {
            let item = code.remove_backup_code(store, &hash);
            removals.add(item, code.matches_backup_code(&hash));
        }
    }
    Ok(removals)
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: AuthenticatedGuard,
    sessions: Sessions,
    users: Users,
    outbox: Outbox,
    audit: Audit,
    two_factor: TwoFactor,
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
        };
        environment.finish(app)
    }
}
