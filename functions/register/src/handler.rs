use std::time::Duration;

use shared::StartError;
use shared::api::Field;
use shared::api::register::{RegisterAnswer, RegisterRequest};
use shared::auth::email_tokens::EmailTokens;
use shared::auth::mailed_codes::{CodeOfMail, MailedCodes};
use shared::auth::token_issuer::{TokenIssuer, Tokens};
use shared::auth::tokens::{refresh_expiry, session_max_age};
use shared::config::Environment;
use shared::domain::client_info::ClientInfo;
use shared::domain::device_token::{Device, DeviceTokenIssuer};
use shared::domain::duration::days;
use shared::domain::email_token::{Purpose, TokenHash};
use shared::domain::id::Id;
use shared::domain::mailed_code::CodePurpose;
use shared::domain::password::Policy;
use shared::domain::password_hash::{PasswordHash, PasswordHasher};
use shared::domain::session::{AuthenticationMethods, Lifetime, Session};
use shared::domain::timestamp::Timestamp;
use shared::domain::user::{Rejection, User};
use shared::error::ApiError;
use shared::http::cookie_mode::TokenDelivery;
use shared::http::{Request, Response};
use shared::serve::{Endpoint, PublicGuard, RequestLimits};
use shared::store::audit::{Audit, Event};
use shared::store::credentials::Credentials;
use shared::store::dynamodb::Write;
use shared::store::mailed_tokens::MailedTokens;
use shared::store::outbox::{Kind, Links, Outbox};
use shared::store::sessions::{NewSession, Sessions};
use shared::store::users::Users;
use shared::{random, telemetry, timing};

const LIMIT: Endpoint = Endpoint::per_client("REGISTER", "5/15m").of_failures_if_balanced();

/// Which part of the transaction was refused.
#[derive(Clone, Copy)]
enum Refused {
    EmailTaken,
    UsernameTaken,
    /// A random identifier is already taken.
    Collision,
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::EmailTaken => Self::EmailTaken,
            Refused::UsernameTaken => Self::UsernameTaken,
            Refused::Collision => Self::Internal("a random identifier occurred twice".into()),
        }
    }
}

pub async fn register(
    app: &App,
    request: Request,
    limits: RequestLimits,
) -> Result<Response, ApiError> {
    let delivery = TokenDelivery::requested_by(&request)?;
    let is_allowed = app.intranet_addresses_are_allowed;
    let check = |body: &RegisterRequest| body.check(&app.policy, is_allowed);
    let body = request.json_with(check)?;
    let (now, client) = (request.received_at(), request.client());

    let password = body.password.into_inner();
    let hash = telemetry::hashing(|| app.hasher.hash(&password, random::bytes()));
    let email = body.email.into_inner();
    let username = body.username.map(|field| field.into_inner().into());
    let name = body.name.map(Field::into_inner);
    let mut user = User::new(Id::new(now, random::bytes()), email, username, name, now);
    let (token_id, token) = app.email_tokens.mint(Purpose::VerifyEmail);
    user.verification_token = Some(token);
    let (rejection_token_id, rejection) = app.email_tokens.mint(Purpose::RejectEmail);
    user.rejection = Some(Rejection {
        token_id: rejection_token_id.clone(),
        token: rejection.clone(),
    });
    // Nobody can use an unverified account; it must not hold an address and a username for ever.
    let expiry = app.unverified_expiry.map(|expiry| now.plus(expiry));
    user.ttl = expiry.map(Timestamp::seconds);
    let (request_token, request) = app.codes.mint();
    let verification = MailedCodes::requested(request_token);
    let mail = Mail {
        links: Links {
            token_id: Some(token_id),
            rejection_token_id: Some(rejection_token_id),
            has_code: true,
        },
        rejection,
        request,
    };

    let Ok(allowed) = user.check_sign_in(app.verification_is_required) else {
        create(app, &user, &hash, &mail, client).await?;
        limits.take_back().await;
        telemetry::count("Registrations", &[]);
        let (user, tokens) = ((&user).into(), None);
        let message = "The account was created. The address must be verified before signing in.";
        let answer = RegisterAnswer {
            user,
            tokens,
            verification,
        };
        return Ok(Response::created(message, answer));
    };
    // The session comes first: if Redis is down, nothing has been created. If the account then cannot be created, the
    // session belongs to nobody, and its tokens are never handed out.
    let session_id = Id::new(now, random::bytes());
    let device = Device {
        id: Id::new(now, random::bytes()),
        user_id: user.id,
    };
    let new = NewSession {
        id: session_id,
        methods: AuthenticationMethods::PASSWORD,
        lifetime: app.lifetime,
        epoch: user.session_epoch,
        device: device.id,
    };
    let session = app.sessions.start(&new, allowed, client).await?;
    let created = async {
        // Before the account, because KMS may fail.
        let tokens = app
            .tokens
            .issue(&session, user.role, &user.claims, delivery, now)
            .await?;
        create(app, &user, &hash, &mail, client).await?;
        Ok(tokens)
    };
    let tokens = match created.await {
        Ok(tokens) => tokens,
        Err(error) => {
            discard(app, &session).await;
            return Err(error);
        }
    };
    limits.take_back().await;

    telemetry::count("Registrations", &[]);
    let Tokens { body, cookies, .. } =
        tokens.with_device_token(app.device_tokens.issue(device, now));
    let (user, tokens) = ((&user).into(), Some(body));
    let message = "The account was created.";
    let answer = RegisterAnswer {
        user,
        tokens,
        verification,
    };
    Ok(Response::created(message, answer).with_cookies(cookies))
}

/// The links of the first mail, and the stored hashes of the rejection token and of the value that the client keeps.
struct Mail {
    links: Links,
    rejection: TokenHash,
    request: TokenHash,
}

/// Creates the account with all its items, all or nothing: if two registrations race for an address or a username,
/// exactly one wins, and no account lacks its verification mail.
async fn create(
    app: &App,
    user: &User,
    hash: &PasswordHash,
    mail: &Mail,
    client: &ClientInfo,
) -> Result<(), ApiError> {
    let now = client.received_at;
    let mut writes = vec![Write::new(
        app.users.claim_email(user, now),
        Refused::EmailTaken,
    )];
    if let Some(username) = &user.username {
        writes.push(Write::new(
            app.users.claim_username(username, user, now),
            Refused::UsernameTaken,
        ));
    }
    writes.extend(
        [
            app.users.create(user),
            app.credentials.create_password(user, hash, now),
            app.outbox
                .create(Kind::VerifyEmail, user, &mail.links, client),
            app.mailed_tokens.create_rejection(
                &mail.rejection,
                user.id,
                app.unverified_expiry.map(|expiry| now.plus(expiry)),
            ),
        ]
        .map(|item| Write::new(item, Refused::Collision)),
    );
    writes.extend(user.verification_token.as_ref().map(|token| {
        let item = app.mailed_tokens.create_verification(token, user.id, now);
        Write::new(item, Refused::Collision)
    }));
    let (events, refused) = ([Event::Register], Refused::Collision);
    let committed = app.audit.commit(user.id, &events, client, writes, refused);
    let of_mail = |id| CodeOfMail::of(user, id);
    let code = mail.links.token_id.as_ref().map(of_mail);
    let (codes, purpose) = (&app.codes, CodePurpose::VerifyEmail);
    let stored = codes.create_beside_link(&mail.request, purpose, code);
    let (committed, ()) = tokio::join!(committed, stored);
    if committed.is_err() {
        let removed = async { app.codes.store.remove(&mail.request).await.map(|_| ()) };
        timing::best_effort("removing the code of a mail that is not sent", removed).await;
    }
    Ok(committed?)
}

/// Ends the session. Best effort: a session that is left behind expires by itself.
async fn discard(app: &App, session: &Session) {
    if let Err(error) = app.sessions.revoke_all(session.user_id).await {
        tracing::warn!(cause = %error, "a session without an account is left to expire");
    }
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: PublicGuard,
    users: Users,
    credentials: Credentials,
    mailed_tokens: MailedTokens,
    outbox: Outbox,
    audit: Audit,
    sessions: Sessions,
    lifetime: Lifetime,
    tokens: TokenIssuer,
    device_tokens: DeviceTokenIssuer,
    email_tokens: EmailTokens,
    codes: MailedCodes,
    verification_is_required: bool,
    /// How long an account with an unverified address stays; `None` if verification is not required.
    unverified_expiry: Option<Duration>,
    intranet_addresses_are_allowed: bool,
    policy: Policy,
    hasher: PasswordHasher,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let verification_is_required = environment.boolean("REQUIRE_VERIFIED_EMAIL", false);
        let unverified_expiry = environment.lifetime("UNVERIFIED_ACCOUNT_EXPIRY", days(7));
        let app = Self {
            guard: PublicGuard::public(&mut environment, LIMIT),
            users: Users::from_env(&mut environment),
            credentials: Credentials::from_env(&mut environment),
            mailed_tokens: MailedTokens::from_env(&mut environment),
            outbox: Outbox::from_env(&mut environment),
            audit: Audit::from_env(&mut environment),
            sessions: Sessions::from_env(&mut environment),
            lifetime: Lifetime {
                is_remembered: false,
                idle: refresh_expiry(&mut environment),
                maximum: session_max_age(&mut environment),
            },
            tokens: TokenIssuer::from_env(&mut environment),
            device_tokens: DeviceTokenIssuer::from_env(&mut environment),
            email_tokens: EmailTokens::from_env(&mut environment),
            codes: MailedCodes::from_env(&mut environment),
            verification_is_required,
            unverified_expiry: verification_is_required.then_some(unverified_expiry),
            intranet_addresses_are_allowed: environment.boolean("ALLOW_INTRANET_ADDRESSES", false),
            policy: Policy::from_env(&mut environment),
            hasher: PasswordHasher::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
