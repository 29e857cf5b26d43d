use shared::api::Field;
use shared::api::two_factor_disable::TwoFactorDisableRequest;
use shared::config::Environment;
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::authentication::Caller;
use shared::http::second_factor::{Factor, Parts};
use shared::http::{Request, Response};
use shared::store::audit::{self, Event, Outcome};
use shared::store::dynamodb::Write;
use shared::store::outbox::{Kind, Links};
use shared::{StartError, clock};

/// Which part of the transaction was refused.
#[derive(Clone, Copy)]
enum Refused {
    /// The code has been used meanwhile.
    FactorUsed,
    /// The record has changed since it was read.
    Stale,
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::FactorUsed => Self::TwoFactorUsed,
            Refused::Stale => Self::ServiceUnavailable("the record was changed meanwhile".into()),
        }
    }
}

pub async fn disable(app: &App, request: Request) -> Result<Response, ApiError> {
    turn_off(app, request).await.map_err(ApiError::of_signed_in)
}

async fn turn_off(app: &App, request: Request) -> Result<Response, ApiError> {
    let caller = app.authenticator.required(&request).await?;
    let body: TwoFactorDisableRequest = request.json()?;
    let code = body.token.into_inner();
    let device_id = body.device_id.map(Field::into_inner);
    let user = &caller.user;
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

    let event = Event::TwoFactorDisable;
    let factor = app
        .second_factor
        .check(user, &code, event, &request)
        .await?;
    let result = remove(app, &caller, left, &factor, &request).await;
    app.second_factor.settle(&factor, &result, &request).await;
    Ok(Response::done(match result?.two_factor_enabled {
        true => "The device was removed.",
        false => "Two-factor authentication is off.",
    }))
}

/// Without the last device the second factor is off, and the backup codes are gone.
async fn remove(
    app: &App,
    caller: &Caller,
    mut left: User,
    factor: &Factor,
    request: &Request,
) -> Result<User, ApiError> {
    let (id, store) = (caller.user.id, &app.second_factor.store);
    let (now, origin, language) = (request.received_at(), request.origin(), request.language());
    let is_off = left.two_factor_devices.is_empty();
    left.two_factor_enabled = !is_off;
    let devices = store.find_devices(id, now).await?;
    let stays = |device: &str| left.two_factor_devices.iter().any(|left| left.id == device);
    let goes = |device: &&str| !stays(device);
    let is_pending = |device: &str| {
        let mut pending = devices
            .iter()
            .filter(|stored| stored.confirmed_at.is_none());
        pending.any(|stored| stored.id() == device)
    };

    // What the factor is of comes first: whether it was used meanwhile is what tells most.
    let mut first = Vec::new();
    let mut then = Vec::new();
    let mut is_used_up = false;
    for device in devices.iter().map(|stored| stored.id()).filter(goes) {
        if is_pending(device) && !is_off {
            continue;
        }
        let item = factor.remove_device(store, device);
        match factor.is_of_device(device) {
            true => {
                first.push(Write::new(item, Refused::FactorUsed));
                is_used_up = true;
            }
            false => then.push(Write::new(item, Refused::Stale)),
        }
    }
    let mut events = vec![Event::TwoFactorDisable];
    if factor.is_backup_code() {
        left.backup_codes_left = left.backup_codes_left.saturating_sub(1);
        events.push(Event::BackupCodeUse);
        let (kind, links) = (Kind::BackupCodeUsed, Links::none());
        let mail = app.outbox.create(kind, &left, &links, language, origin);
        then.push(Write::new(mail, Refused::Stale));
    }
    if is_off {
        left.backup_codes_left = 0;
        for hash in store.find_backup_codes(id, now).await? {
            let item = factor.remove_backup_code(store, &hash);
            let is_own = factor.is_of_backup_code(&hash);
            let refused = if is_own {
                Refused::FactorUsed
            } else {
                Refused::Stale
            };
            let place = if is_own { &mut first } else { &mut then };
            place.push(Write::new(item, refused));
            is_used_up |= is_own;
        }
        left.undo_token = None;
        let (kind, links) = (Kind::TwoFactorOff, Links::none());
        let mail = app.outbox.create(kind, &left, &links, language, origin);
        then.push(Write::new(mail, Refused::Stale));
    }
    if !is_used_up {
        first.push(Write::new(
            factor.write(store, request),
            Refused::FactorUsed,
        ));
    }
    let ends_sessions = is_off || factor.is_backup_code();
    let kept = ends_sessions.then_some(caller.session_id);
    then.push(Write::new(
        app.users.update_two_factor(&left, kept, now),
        Refused::Stale,
    ));
    for event in &events {
        let entry = app.audit.create(id, *event, Outcome::Success, origin);
        then.push(Write::new(entry, Refused::Stale));
    }

    first.append(&mut then);
    app.dynamodb.transact(first).await?;
    for event in events {
        audit::log(Some(id), event, Outcome::Success, origin);
    }
    if ends_sessions {
        let others = app
            .authenticator
            .sessions
            .revoke_others(caller.session_id, id);
        clock::aftermath("removing the sessions that are over", others).await;
    }
    Ok(left)
}

/// What this endpoint may touch.
pub type App = Parts;

/// From the environment variables.
pub fn app_from_env() -> Result<App, StartError> {
    let mut environment = Environment::of_process();
    let app = Parts::from_env(&mut environment);
    environment.finish(app)
}
