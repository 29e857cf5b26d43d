use std::time::Duration;

use shared::StartError;
use shared::api::code_confirm::CodeConfirmRequest;
use shared::api::{Field, SignedIn};
use shared::auth::failures::Failures;
use shared::auth::mailed_codes::{MailedCodes, Tried};
use shared::auth::proven_owners::{ProvenOwner, ProvenOwners};
use shared::auth::reauthentication::record_failure;
use shared::auth::sign_in::{Proof, Refused, SignIn};
use shared::auth::two_factor::{TwoFactor, VerifiedCode};
use shared::config::Environment;
use shared::domain::client_info::ClientInfo;
use shared::domain::code::Code;
use shared::domain::email_token::TokenHash;
use shared::domain::mailed_code::CodePurpose;
use shared::domain::session::AuthenticationMethods;
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::cookie_mode::TokenDelivery;
use shared::http::{Request, Response};
use shared::serve::{Endpoint, PublicGuard, RequestLimits};
use shared::store::audit::Event;
use shared::store::dynamodb::Write;
use shared::store::mailed_codes::MailedCodeEntry;
use shared::{telemetry, timing};

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

pub async fn confirm_code(
    app: &App,
    request: Request,
    limits: RequestLimits,
) -> Result<Response, ApiError> {
    // A code of nobody takes the time of a wrong one (ASVS 5.0, 6.3.8).
    let work = exchange(app, &request, &limits);
    let result = timing::in_multiples_of(ANSWER_TIME, work).await;
    limits.settle(&result).await;
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
            record_failure(&app.owners.accounts.audit, None, EVENT, false, client).await?;
            return Err(ApiError::CodeInvalid);
        }
    };
    let users = &app.owners.accounts.users;
    let found = users.find_by_email(&entry.email, now).await?;
    if !is_right {
        return Err(refuse(app, found.as_ref(), client).await?);
    }
    // The account that the code was for may have been removed, or another one registered in its place.
    if entry.user_id.is_some() && entry.user_id != found.as_ref().map(|user| user.id) {
        return Err(ApiError::CodeInvalid);
    }
    let owner = app.owners.owner(found, &entry.email, None, request).await?;
    sign_in(app, &owner, &entry, &confirmation, request, limits).await
}

/// Records a wrong code.
async fn refuse(app: &App, user: Option<&User>, client: &ClientInfo) -> Result<ApiError, ApiError> {
    let (audit, id) = (&app.owners.accounts.audit, user.map(|user| user.id));
    record_failure(audit, id, EVENT, false, client).await?;
    if let Some(user) = user {
        app.failures.count(user, client).await?;
    }
    Ok(ApiError::CodeInvalid)
}

/// Signs in. A mailed code is one factor, and never the second one: with two-factor authentication the code of the app
/// is required as well. The mailed code is used up once everything else is right.
async fn sign_in(
    app: &App,
    owner: &ProvenOwner,
    entry: &MailedCodeEntry,
    confirmation: &Confirmation,
    request: &Request,
    limits: &RequestLimits,
) -> Result<Response, ApiError> {
    let (user, client) = (&owner.user, request.client());
    let allowed = match app.sign_in.check(user, ApiError::CodeInvalid) {
        Ok(allowed) => allowed,
        Err(error) => {
            let audit = &app.owners.accounts.audit;
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
        let (sessions, delivery) = (&app.sign_in.sessions, confirmation.delivery);
        let from = owner.client(sessions, request, confirmation.is_remembered, delivery);
        let from = from.await?;
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
        used: None,
        has_backup_code: code.is_some_and(VerifiedCode::is_backup_code),
        refusal: || ApiError::CodeInvalid,
    }
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: PublicGuard,
    codes: MailedCodes,
    owners: ProvenOwners,
    sign_in: SignIn,
    two_factor: TwoFactor,
    failures: Failures,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: PublicGuard::public(&mut environment, LIMIT),
            codes: MailedCodes::from_env(&mut environment),
            owners: ProvenOwners::from_env(&mut environment),
            sign_in: SignIn::from_env(&mut environment),
            two_factor: TwoFactor::from_env(&mut environment),
            failures: Failures::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
