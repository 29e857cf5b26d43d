use shared::StartError;
use shared::api::passkey_login::{PasskeyLoginOptionsRequest, PasskeyLoginRequest};
use shared::api::passkey_register::PasskeyOptionsAnswer;
use shared::api::{Field, SignedIn};
use shared::auth::device;
use shared::auth::passkeys::{Passkeys, Unverified, VerifiedPasskey};
use shared::auth::reauthentication::record_failure;
use shared::auth::sign_in::{Client, Proof, Refused, SignIn};
use shared::config::Environment;
use shared::domain::client_info::ClientInfo;
use shared::domain::device_token::DeviceTokenVerifier;
use shared::domain::session::AuthenticationMethods;
use shared::domain::user::{UsedMethod, User, UserId};
use shared::error::ApiError;
use shared::http::cookie_mode::TokenDelivery;
use shared::http::{Request, Response};
use shared::serve::{Endpoint, PublicGuard, RequestLimits};
use shared::store::audit::{self, Audit, Event, Outcome};
use shared::store::dynamodb::Write;
use shared::store::outbox::{Kind, Links, Outbox};
use shared::store::users::Users;
use shared::telemetry;

const LIMIT: Endpoint = Endpoint::per_client("PASSKEY_LOGIN", "5/15m").of_failures();
const EVENT: Event = Event::PasskeyLogin;

pub async fn passkey(
    app: &App,
    request: Request,
    limits: RequestLimits,
) -> Result<Response, ApiError> {
    if request.is_to("POST /api/auth/passkeys/login/options") {
        return begin(app, &request, &limits).await;
    }
    let result = exchange(app, &request, &limits).await;
    if let Err(ApiError::ServiceUnavailable(_)) = &result {
        limits.take_back().await; // an outage is not the client's failure
    }
    let outcome = result.as_ref().map_or_else(ApiError::code, |_| "success");
    telemetry::count("PasskeyLogins", &[("Outcome", outcome)]);
    result
}

async fn begin(app: &App, request: &Request, limits: &RequestLimits) -> Result<Response, ApiError> {
    request.optional_json::<PasskeyLoginOptionsRequest>()?;
    let (options, ()) = tokio::join!(app.passkeys.begin_sign_in(), limits.take_back());
    let public_key = options?;
    let answer = PasskeyOptionsAnswer { public_key };
    Ok(Response::ok("Use the passkey.", answer))
}

/// Exchanges the answer of a passkey for a session. Nobody can guess it, so it has no lockout, and a lockout for wrong
/// passwords does not hold here. The state of the account counts as with every other method, a required reset included.
async fn exchange(
    app: &App,
    request: &Request,
    limits: &RequestLimits,
) -> Result<Response, ApiError> {
    let (now, client) = (request.received_at(), request.client());
    let delivery = TokenDelivery::requested_by(request)?;
    let body: PasskeyLoginRequest = request.json()?;
    let credential = body.credential.into_inner();
    let verified = match app.passkeys.finish_sign_in(credential, now).await? {
        Ok(verified) => verified,
        Err(unverified) => return Err(refuse(app, unverified, client).await?),
    };
    let id = verified.stored.user_id;
    let device = device::presented(&app.device_tokens, id, request);
    let sessions = &app.sign_in.sessions;
    let (user, known) = tokio::join!(
        app.users.find(id, now),
        sessions.known_client(id, device.map(|device| device.id), client),
    );
    let (user, known) = (user?.ok_or(ApiError::PasskeyInvalid)?, known?);
    let allowed = match app.sign_in.check(&user, ApiError::PasskeyInvalid) {
        Ok(allowed) => allowed,
        Err(error) => {
            record_failure(&app.audit, Some(id), EVENT, false, client).await?;
            return Err(error);
        }
    };
    let is_valid = |device: &_| known.device && !device::is_revoked(*device, &user);
    let client = Client {
        request,
        device: device.filter(is_valid),
        is_known: known.client,
        is_remembered: body.remember_me.is_some_and(Field::into_inner),
        delivery,
    };
    let (proof, settle) = (proof(app, verified), limits.take_back_of_owner());
    let started = app.sign_in.start(allowed, proof, &client, settle);
    let tokens = started.await?;
    let answer = SignedIn::new(&user, tokens.body, now);
    Ok(Response::ok("Signed in.", answer).with_cookies(tokens.cookies))
}

/// Returns the proof of a passkey: it is still one of the user's, and no other sign-in has used its counter meanwhile.
/// The authenticator has verified the user, so that it is two factors at once (NIST SP 800-63B-4, 3.1.7).
fn proof(app: &App, verified: VerifiedPasskey) -> Proof {
    let stored = &verified.stored;
    let counted = verified.updated.map(|new| {
        let (id, old) = (&verified.credential_id, &stored.credential);
        let item = app.passkeys.store.update(id, old, &new);
        Write::new(item, Refused::ProofChanged)
    });
    Proof {
        event: EVENT,
        methods: AuthenticationMethods::PASSKEY,
        writes: counted.into_iter().collect(),
        is_used_up: false,
        used: Some(UsedMethod::Passkey(stored.id)),
        has_backup_code: false,
        refusal: || ApiError::PasskeyInvalid,
    }
}

/// Records a refusal. The owner of a passkey that may have been copied gets a mail.
async fn refuse(
    app: &App,
    unverified: Unverified,
    client: &ClientInfo,
) -> Result<ApiError, ApiError> {
    match unverified {
        Unverified::Invalid(None) => audit::log(None, EVENT, Outcome::Failure, client),
        Unverified::Invalid(Some(id)) => {
            record_failure(&app.audit, Some(id), EVENT, false, client).await?;
        }
        Unverified::Cloned(id) => {
            tracing::warn!(user_id = %id, "the counter of a passkey went back");
            telemetry::count("PasskeysCopied", &[]);
            record_failure(&app.audit, Some(id), EVENT, false, client).await?;
            warn_owner(app, id, client).await?;
        }
    }
    Ok(ApiError::PasskeyInvalid)
}

async fn warn_owner(app: &App, id: UserId, client: &ClientInfo) -> Result<(), ApiError> {
    let user = app.users.find(id, client.received_at).await?;
    if let Some(user) = user.filter(User::is_active) {
        let (kind, links) = (Kind::PasskeyCopied, Links::none());
        let mail = app.outbox.create(kind, &user, &links, client);
        app.audit
            .commit(
                id,
                &[],
                client,
                vec![Write::new(mail, Refused::Collision)],
                Refused::Collision,
            )
            .await?;
    }
    Ok(())
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: PublicGuard,
    passkeys: Passkeys,
    sign_in: SignIn,
    users: Users,
    audit: Audit,
    outbox: Outbox,
    device_tokens: DeviceTokenVerifier,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: PublicGuard::public(&mut environment, LIMIT),
            passkeys: Passkeys::from_env(&mut environment),
            sign_in: SignIn::from_env(&mut environment),
            users: Users::from_env(&mut environment),
            audit: Audit::from_env(&mut environment),
            outbox: Outbox::from_env(&mut environment),
            device_tokens: DeviceTokenVerifier::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
