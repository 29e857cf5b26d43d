use shared::StartError;
use shared::api::Field;
use shared::api::passkey_register::{
    PasskeyOptionsAnswer, PasskeyRegisterAnswer, PasskeyRegisterOptionsRequest,
    PasskeyRegisterRequest,
};
use shared::api::profile;
use shared::auth::authentication::Caller;
use shared::auth::passkeys::{NewPasskey, Passkeys, check_count};
use shared::auth::reauthentication::Reauthentication;
use shared::auth::retry::{Refusal, write_current};
use shared::auth::two_factor::TwoFactor;
use shared::config::Environment;
use shared::domain::client_info::ClientInfo;
use shared::domain::person_name::PersonName;
use shared::domain::rule::rule;
use shared::domain::user::{Passkey, PasskeyId, User};
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::serve::{AuthenticatedGuard, Endpoint};
use shared::store::audit::{Audit, Event};
use shared::store::dynamodb::{TransactionError, Write};
use shared::store::outbox::{Kind, Links, Outbox};
use shared::store::sessions::Sessions;
use shared::store::users::Users;
use shared::timing;

const DEFAULT_NAME: &str = "Passkey";

/// Why a passkey was not stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// An account has this credential already.
    Taken,
    /// The record has changed since it was read.
    Stale,
}

impl Refusal for Refused {
    fn is_stale(&self) -> bool {
        *self == Self::Stale
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Taken => {
                let message = "is in use already";
                Self::invalid("credential", rule("passkey_taken", message))
            }
            Refused::Stale => Self::ServiceUnavailable("the record kept changing".into()),
        }
    }
}

pub async fn passkey(app: &App, caller: Caller, request: Request) -> Result<Response, ApiError> {
    let result = match request.is_to("POST /api/auth/passkeys/register/options") {
        true => begin(app, &caller, &request).await,
        false => finish(app, &caller, &request).await,
    };
    result.map_err(ApiError::for_signed_in)
}

/// Requires a proven address: a stranger who registered it must not keep a way in once its owner has proven it.
fn require_verified(user: &User) -> Result<(), ApiError> {
    match user.email_verified {
        true => Ok(()),
        false => Err(ApiError::EmailNotVerified),
    }
}

/// Returns the options. A passkey signs in without a password and a code, so that adding one takes all that a sign-in
/// takes (ASVS 5.0, 7.5.1): a recent sign-in or the password, and a code if two-factor authentication is on.
async fn begin(app: &App, caller: &Caller, request: &Request) -> Result<Response, ApiError> {
    let (user, client, event) = (&caller.user, request.client(), Event::PasskeyRegister);
    let body: PasskeyRegisterOptionsRequest = request.optional_json()?;
    let password = body.password.map(Field::into_inner);
    let code = body.two_factor_token.map(Field::into_inner);
    require_verified(user)?;
    check_count(user)?;
    if user.two_factor_enabled && code.is_none() {
        return Err(ApiError::TwoFactorRequired);
    }
    let (check, password) = (&app.reauthentication, password.as_ref());
    check.check(caller, password, event, client).await?;
    let two_factor = &app.two_factor;
    let checked = two_factor.check_if_enabled(user, code.as_ref(), event, client);
    let code = checked.await?;
    // First, so that a failure costs nobody a code.
    let options = app.passkeys.begin_registration(user, caller.session_id);
    let mut result = options.await;
    if let Some(code) = &code {
        if result.is_ok() {
            let (writes, events) = two_factor.use_up(code, caller, &app.users, client);
            let stale = shared::auth::two_factor::Refused::Stale;
            let used = app.audit.commit(user.id, &events, client, writes, stale);
            result = used.await.map_err(ApiError::from).and(result);
        }
        two_factor.settle(code, &result, client).await;
    }
    let public_key = result?;
    if code.is_some_and(|code| code.is_backup_code()) {
        let others = app.sessions.revoke_others(caller.session_id, user.id);
        timing::best_effort("removing the sessions that are over", others).await;
    }
    let answer = PasskeyOptionsAnswer { public_key };
    Ok(Response::ok("Create the passkey.", answer))
}

async fn finish(app: &App, caller: &Caller, request: &Request) -> Result<Response, ApiError> {
    let (user, client) = (&caller.user, request.client());
    let body: PasskeyRegisterRequest = request.json()?;
    require_verified(user)?;
    let credential = body.credential.into_inner();
    // The answer to an earlier request may have been lost.
    let id = credential.as_json()["id"].as_str();
    let mut passkeys = user.passkeys.iter();
    if let Some((id, passkey)) = passkeys.find(|(_, own)| id == Some(&own.credential_id)) {
        return Ok(added(*id, passkey));
    }
    check_count(user)?;
    let name = body.name.map(Field::into_inner);
    let (session_id, now) = (caller.session_id, client.received_at);
    let finished = app
        .passkeys
        .finish_registration(user, session_id, credential, now);
    let new = &finished.await?;
    let passkey = &Passkey {
        credential_id: new.credential_id.clone(),
        name: name
            .as_ref()
            .map_or(DEFAULT_NAME, PersonName::as_str)
            .to_owned(),
        created_at: now,
        last_used_at: None,
    };
    write_current(
        user.clone(),
        |user| write(app, user, new, passkey, client),
        || async {
            let user = caller.reread(&app.users, now).await?;
            check_count(&user)?;
            Ok(user)
        },
    )
    .await?;
    Ok(added(new.stored.id, passkey))
}

fn added(id: PasskeyId, passkey: &Passkey) -> Response {
    let passkey = profile::Passkey::new(id, passkey);
    Response::ok("The passkey was added.", PasskeyRegisterAnswer { passkey })
}

/// Writes the passkey and its entry in the record, all or nothing.
async fn write(
    app: &App,
    mut user: User,
    new: &NewPasskey,
    passkey: &Passkey,
    client: &ClientInfo,
) -> Result<(), TransactionError<Refused>> {
    let created = app.passkeys.store.create(&new.credential_id, &new.stored);
    let mail = app
        .outbox
        .create(Kind::PasskeyAdded, &user, &Links::none(), client);
    user.passkeys.insert(new.stored.id, passkey.clone());
    let writes = vec![
        Write::new(created, Refused::Taken),
        Write::new(
            app.users.update_passkeys(&user, client.received_at),
            Refused::Stale,
        ),
        Write::new(mail, Refused::Stale),
    ];
    let events = [Event::PasskeyRegister];
    app.audit
        .commit(user.id, &events, client, writes, Refused::Stale)
        .await
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: AuthenticatedGuard,
    passkeys: Passkeys,
    sessions: Sessions,
    users: Users,
    outbox: Outbox,
    audit: Audit,
    two_factor: TwoFactor,
    reauthentication: Reauthentication,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: AuthenticatedGuard::from_env(&mut environment, Some(Endpoint::PASSKEYS)),
            passkeys: Passkeys::from_env(&mut environment),
            sessions: Sessions::from_env(&mut environment),
            users: Users::from_env(&mut environment),
            outbox: Outbox::from_env(&mut environment),
            audit: Audit::from_env(&mut environment),
            two_factor: TwoFactor::from_env(&mut environment),
            reauthentication: Reauthentication::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
