use shared::api::Field;
use shared::api::two_factor_setup::{TwoFactorSetupAnswer, TwoFactorSetupRequest};
use shared::config::Environment;
use shared::domain::id::Id;
use shared::domain::person_name::PersonName;
use shared::domain::totp::{TotpSecret, account_label};
use shared::domain::user::{TwoFactorDevice, User};
use shared::error::ApiError;
use shared::http::authentication::Caller;
use shared::http::password_check::Reauthentication;
use shared::http::second_factor::{Factor, Parts, check_room};
use shared::http::{Request, Response};
use shared::store::audit::{self, Event, Outcome};
use shared::store::dynamodb::Write;
use shared::store::outbox::{Kind, Links};
use shared::store::two_factor::StoredDevice;
use shared::{StartError, clock, random};

/// The most that wait to be confirmed.
const MOST_PENDING: usize = 5;
const DEFAULT_NAME: &str = "Authenticator";

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

pub async fn set_up(app: &App, request: Request) -> Result<Response, ApiError> {
    add(app, request).await.map_err(ApiError::of_signed_in)
}

async fn add(app: &App, request: Request) -> Result<Response, ApiError> {
    let caller = app.parts.authenticator.required(&request).await?;
    let user = &caller.user;
    let body: TwoFactorSetupRequest = request.optional_json()?;
    let name = body.device_name.map(Field::into_inner);
    let code = body.token.map(Field::into_inner);
    let password = body.password.map(Field::into_inner);
    check_room(user)?;
    if user.two_factor_enabled && code.is_none() {
        return Err(ApiError::TwoFactorRequired);
    }
    // Whoever has found an access token must not keep its owner out, and a further device needs a factor beside it
    // (ASVS 5.0, 7.5.1).
    let (check, event) = (&app.reauthentication, Event::TwoFactorSetup);
    check
        .check(&caller, password.as_ref(), event, &request)
        .await?;
    let factor = match (user.two_factor_enabled, &code) {
        (false, _) => None,
        (true, None) => return Err(ApiError::TwoFactorRequired),
        (true, Some(code)) => Some(
            app.parts
                .second_factor
                .check(user, code, event, &request)
                .await?,
        ),
    };
    let id = Id::<TwoFactorDevice>::new(request.received_at(), random::bytes()).to_string();
    let secret = TotpSecret::new(random::bytes());
    let name = name.as_ref().map_or(DEFAULT_NAME, PersonName::as_str);
    let result = write(
        app,
        &caller,
        (&id, name, &secret),
        factor.as_ref(),
        &request,
    )
    .await;
    if let Some(factor) = &factor {
        app.parts
            .second_factor
            .settle(factor, &result, &request)
            .await;
    }
    result?;

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

/// The device, pending until a code of it is verified, and the use of the factor that allows it.
async fn write(
    app: &App,
    caller: &Caller,
    (id, name, secret): (&str, &str, &TotpSecret),
    factor: Option<&Factor>,
    request: &Request,
) -> Result<(), ApiError> {
    let (user, store) = (&caller.user, &app.parts.second_factor.store);
    let (now, origin) = (request.received_at(), request.origin());
    let sealed = app.parts.second_factor.seal(user.id, id, secret);
    let device = StoredDevice::pending(
        id,
        name.to_owned(),
        sealed,
        factor.is_some(),
        caller.session_id,
        now,
    );
    let mut writes = Vec::new();
    let mut add = |item, refused| writes.push(Write::new(item, refused));

    let mut events = vec![Event::TwoFactorSetup];
    if let Some(factor) = factor {
        add(factor.write(store, request), Refused::FactorUsed);
        if factor.is_backup_code() {
            let changed = User {
                backup_codes_left: user.backup_codes_left.saturating_sub(1),
                ..user.clone()
            };
            add(
                app.parts
                    .users
                    .update_two_factor(&changed, Some(caller.session_id), now),
                Refused::Stale,
            );
            let (kind, language) = (Kind::BackupCodeUsed, request.language());
            let links = Links::none();
            let mail = app
                .parts
                .outbox
                .create(kind, user, &links, language, origin);
            add(mail, Refused::Stale);
            events.push(Event::BackupCodeUse);
        }
    }
    add(store.create_device(user.id, &device), Refused::Stale);
    // Those that were never confirmed do not pile up.
    let devices = store.find_devices(user.id, now).await?;
    let pending: Vec<_> = devices
        .iter()
        .filter(|device| device.confirmed_at.is_none())
        .collect();
    let surplus = (pending.len() + 1).saturating_sub(MOST_PENDING);
    for oldest in pending.into_iter().take(surplus) {
        add(store.remove_device(user.id, oldest.id()), Refused::Stale);
    }
    for event in &events {
        let entry = app
            .parts
            .audit
            .create(user.id, *event, Outcome::Success, origin);
        add(entry, Refused::Stale);
    }
    app.parts.dynamodb.transact(writes).await?;
    for event in events {
        audit::log(Some(user.id), event, Outcome::Success, origin);
    }
    if factor.is_some_and(Factor::is_backup_code) {
        let sessions = &app.parts.authenticator.sessions;
        let others = sessions.revoke_others(caller.session_id, user.id);
        clock::aftermath("removing the sessions that are over", others).await;
    }
    Ok(())
}

/// What this endpoint may touch.
pub struct App {
    pub parts: Parts,
    reauthentication: Reauthentication,
    issuer: String,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let parts = Parts::from_env(&mut environment);
        let app = Self {
            reauthentication: environment.reauthentication(&parts.dynamodb, &parts.audit),
            parts,
            issuer: environment.text("APP_NAME"),
        };
        environment.finish(app)
    }
}
