use std::time::Duration;

use shared::StartError;
use shared::api::code_confirm::CodeConfirmRequest;
use shared::api::{Field, SignedIn};
use shared::auth::device;
use shared::auth::failures::Failures;
use shared::auth::mailed_codes::{MailedCodes, Tried};
use shared::auth::reauthentication::record_failure;
use shared::auth::sign_in::{Client, Proof, Refused, SignIn};
use shared::auth::two_factor::{TwoFactor, VerifiedCode};
use shared::auth::unproven_accounts::UnprovenAccounts;
use shared::config::Environment;
use shared::domain::client_info::ClientInfo;
use shared::domain::code::Code;
use shared::domain::device_token::{Device, DeviceTokenVerifier};
use shared::domain::email_token::TokenHash;
use shared::domain::id::Id;
use shared::domain::mailed_code::CodePurpose;
use shared::domain::password_hash::PasswordHasher;
use shared::domain::session::AuthenticationMethods;
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::cookie_mode::TokenDelivery;
use shared::http::{Request, Response};
use shared::serve::{Endpoint, PublicGuard, RequestLimits};
use shared::store::audit::Event;
use shared::store::dynamodb::Write;
use shared::store::mailed_codes::MailedCodeEntry;
use shared::{random, telemetry, timing};

const LIMIT: Endpoint = Endpoint::per_client("CODE_CONFIRM", "5/15m").of_failures();
const EVENT: Event = Event::CodeLogin;

/// The unit of the answer time: it covers the writes that a wrong code of an account takes.
const ANSWER_TIME: Duration = Duration::from_millis(100);

/// A valid request.
struct Confirmation {
    request_token: TokenHash,
    second_factor: Option<Code>,
    is_remembered: bool,
    delivery: TokenDelivery,
}

/// The user that a code was mailed to.
struct Owner {
    user: User,
    device: Option<Device>,
    /// Whether this request has created the account, so that its first device is no new one.
    is_new: bool,
}

pub async fn confirm_code(
    app: &App,
    request: Request,
    limits: RequestLimits,
) -> Result<Response, ApiError> {
    // A code of nobody takes the time of a wrong one (ASVS 5.0, 6.3.8).
    let work = exchange(app, &request, &limits);
    let result = timing::in_multiples_of(ANSWER_TIME, work).await;
    match &result {
        // The client has the code; something else is missing.
        Err(
            ApiError::TwoFactorRequired
            | ApiError::TwoFactorUsed
            | ApiError::EmailNotVerified
            | ApiError::AccountDisabled
            | ApiError::PasswordResetRequired,
        ) => limits.take_back_of_owner().await,
        Err(ApiError::ServiceUnavailable(_)) => limits.take_back().await,
        _ => {}
    }
    let outcome = result.as_ref().map_or_else(ApiError::code, |_| "success");
    telemetry::count("CodeLogins", &[("Outcome", outcome)]);
    result
}

async fn exchange(
    app: &App,
    request: &Request,
    limits: &RequestLimits,
) -> Result<Response, ApiError> {
    let (now, client) = (request.received_at(), request.client());
    let delivery = TokenDelivery::requested_by(request)?;
    let body: CodeConfirmRequest = request.json()?;
    let confirmation = Confirmation {
        request_token: body.request_token.into_inner(),
        second_factor: body.two_factor_token.map(Field::into_inner),
        is_remembered: body.remember_me.is_some_and(Field::into_inner),
        delivery,
    };
    let code = body.code.into_inner();
    let (purpose, kept) = (CodePurpose::SignIn, &confirmation.request_token);
    let tried = app.codes.try_code(purpose, kept, &code, client);
    let (entry, is_right) = match tried.await? {
        Tried::Right(entry) => (entry, true),
        Tried::Wrong(entry) => (entry, false),
        Tried::Void => {
            record_failure(&app.accounts.audit, None, EVENT, false, client).await?;
            return Err(ApiError::CodeInvalid);
        }
    };
    let claimed = app.accounts.users.find_id_by_email(&entry.email, now);
    let found = match claimed.await? {
        Some(id) => app.accounts.users.find(id, now).await?,
        None => None,
    };
    if !is_right {
        return Err(refuse(app, found.as_ref(), client).await?);
    }
    // The account that the code was for may have been removed, or another one registered in its place.
    if entry.user_id.is_some() && entry.user_id != found.as_ref().map(|user| user.id) {
        return Err(ApiError::CodeInvalid);
    }
    let owner = owner(app, found, &entry, request).await?;
    sign_in(app, &owner, &entry, &confirmation, request, limits).await
}

/// Records a wrong code.
async fn refuse(app: &App, user: Option<&User>, client: &ClientInfo) -> Result<ApiError, ApiError> {
    match user {
        Some(user) => {
            let (audit, id) = (&app.accounts.audit, Some(user.id));
            record_failure(audit, id, EVENT, false, client).await?;
            app.failures.count(user, client).await?;
        }
        None => record_failure(&app.accounts.audit, None, EVENT, false, client).await?,
    }
    Ok(ApiError::CodeInvalid)
}

/// Returns the owner of the address. The code proves the address: an account that is not there yet is created, and one
/// with an unproven address is the owner's from now on. A stranger may have registered it; so it loses its password and
/// all settings, unless the request comes from the device on which it was registered.
async fn owner(
    app: &App,
    found: Option<User>,
    entry: &MailedCodeEntry,
    request: &Request,
) -> Result<Owner, ApiError> {
    let (accounts, client) = (&app.accounts, request.client());
    let unusable = || app.hasher.decoy(random::bytes());
    let Some(user) = found else {
        let (now, email) = (client.received_at, entry.email.clone());
        let mut user = User::new(Id::new(now, random::bytes()), email, None, None, now);
        user.email_verified = true;
        accounts.create_proven(&user, &unusable(), client).await?;
        telemetry::count("Registrations", &[]);
        return Ok(Owner {
            user,
            device: None,
            is_new: true,
        });
    };
    let presented = device::presented(&app.device_tokens, user.id, request);
    let device = presented.filter(|device| !device::is_revoked(*device, &user));
    if user.email_verified || !user.is_active() {
        return Ok(Owner {
            user,
            device,
            is_new: false,
        });
    }
    let kept = device.is_some();
    let hash = (!kept).then(unusable);
    accounts.prove(&user, hash.as_ref(), client).await?;
    if !kept {
        let all = app.sign_in.sessions.revoke_all(user.id);
        timing::best_effort("removing a stranger's sessions", all).await;
    }
    let user = accounts.users.find(user.id, client.received_at).await?;
    Ok(Owner {
        user: user.ok_or(ApiError::CodeInvalid)?,
        device,
        is_new: false,
    })
}

/// Signs in. A mailed code is one factor, and never the second one: with two-factor authentication the code of the app
/// is required as well. The mailed code is used up once everything else is right.
async fn sign_in(
    app: &App,
    owner: &Owner,
    entry: &MailedCodeEntry,
    confirmation: &Confirmation,
    request: &Request,
    limits: &RequestLimits,
) -> Result<Response, ApiError> {
    let (user, client) = (&owner.user, request.client());
    let allowed = match app.sign_in.check(user, ApiError::CodeInvalid) {
        Ok(allowed) => allowed,
        Err(error) => {
            let audit = &app.accounts.audit;
            record_failure(audit, Some(user.id), EVENT, false, client).await?;
            return Err(error);
        }
    };
    let (two_factor, code) = (&app.two_factor, confirmation.second_factor.as_ref());
    let checked = two_factor.check_if_enabled(user, code, EVENT, client).await;
    if let Err(ApiError::TwoFactorInvalid) = checked {
        app.failures.count(user, client).await?;
    }
    let code = checked?;
    let result = async {
        if !app.codes.store.remove(&confirmation.request_token).await? {
            return Err(ApiError::CodeInvalid); // another request has used it
        }
        let device = owner.device.map(|device| device.id);
        let sessions = &app.sign_in.sessions;
        let known = sessions.known_client(user.id, device, client).await?;
        let from = Client {
            request,
            device: owner.device.filter(|_| known.device),
            is_known: known.client || owner.is_new,
            is_remembered: confirmation.is_remembered,
            delivery: confirmation.delivery,
        };
        let proof = proof(app, code.as_ref(), client);
        let settle = limits.take_back_of_owner();
        app.sign_in.start(allowed, proof, &from, settle).await
    };
    let result = result.await;
    if let Some(code) = &code {
        two_factor.settle(code, &result, client).await;
    }
    if let Err(ApiError::ServiceUnavailable(_)) = &result {
        let kept = app
            .codes
            .store
            .create(&confirmation.request_token, Some(entry));
        timing::best_effort("keeping a code for another try", kept).await;
    }
    let tokens = result?;
    let answer = SignedIn::new(user, tokens.body, request.received_at());
    Ok(Response::ok("Signed in.", answer).with_cookies(tokens.cookies))
}

fn proof(app: &App, code: Option<&VerifiedCode>, client: &ClientInfo) -> Proof {
    let writes = code.map(|code| {
        let item = code.write(&app.two_factor.store, client);
        Write::new(item, Refused::CodeUsed)
    });
    Proof {
        event: EVENT,
        methods: match code {
            Some(_) => AuthenticationMethods::MAILED_CODE_AND_CODE,
            None => AuthenticationMethods::MAILED_CODE,
        },
        writes: writes.into_iter().collect(),
        is_used_up: code.is_some(),
        passkey: None,
        has_backup_code: code.is_some_and(VerifiedCode::is_backup_code),
        refusal: || ApiError::CodeInvalid,
    }
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: PublicGuard,
    codes: MailedCodes,
    accounts: UnprovenAccounts,
    sign_in: SignIn,
    two_factor: TwoFactor,
    failures: Failures,
    device_tokens: DeviceTokenVerifier,
    hasher: PasswordHasher,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: PublicGuard::public(&mut environment, LIMIT),
            codes: MailedCodes::from_env(&mut environment),
            accounts: UnprovenAccounts::from_env(&mut environment),
            sign_in: SignIn::from_env(&mut environment),
            two_factor: TwoFactor::from_env(&mut environment),
            failures: Failures::from_env(&mut environment),
            device_tokens: DeviceTokenVerifier::from_env(&mut environment),
            hasher: PasswordHasher::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
