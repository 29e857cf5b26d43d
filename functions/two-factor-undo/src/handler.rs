use secrecy::SecretString;
use shared::api::two_factor_undo::TwoFactorUndoRequest;
use shared::config::Environment;
use shared::domain::email_token::{self, Purpose, TokenHash};
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::guard::{Endpoint, Guard};
use shared::http::{Request, Response};
use shared::store::audit::{self, Audit, Event, Outcome};
use shared::store::dynamodb::{DynamoDb, TransactionError, Write};
use shared::store::mailed_tokens::MailedTokens;
use shared::store::outbox::{Kind, Links, Outbox};
use shared::store::reset_tokens::ResetTokens;
use shared::store::sessions::Sessions;
use shared::store::two_factor::TwoFactor;
use shared::store::users::Users;
use shared::{StartError, clock, random};

/// Tries at a change that meets another change of the same record.
const TRIES: u32 = 3;

/// The record has changed since it was read; the token has perhaps been used.
#[derive(Clone, Copy)]
struct Stale;

pub async fn undo(app: &App, request: Request) -> Result<Response, ApiError> {
    let body: TwoFactorUndoRequest = request.json()?;
    let token = body.token.into_inner();
    let (secret, purpose) = (&app.email_token_secret, Purpose::ResetPassword);
    let (reset_id, reset) = email_token::mint(secret, purpose, random::bytes());
    let links = Links::button(reset_id);
    for _ in 0..TRIES {
        let user = find_owner(app, &token, &request).await?;
        app.reset_tokens.create(&reset, Some(user.id)).await?;
        match write(app, &user, (&token, &reset), &links, &request).await {
            Ok(()) => {
                // By the record they are over already.
                let all = app.sessions.revoke_all(user.id);
                clock::aftermath("removing the sessions that are over", all).await;
                return Ok(Response::done(
                    "Two-factor authentication is off, and all devices are signed out. \
                     A mail to set a new password is on its way.",
                ));
            }
            Err(TransactionError::Store(error)) => return Err(error.into()),
            Err(TransactionError::Refused(Stale)) => {}
        }
    }
    Err(ApiError::ServiceUnavailable(
        "the record kept changing".into(),
    ))
}

async fn find_owner(app: &App, token: &TokenHash, request: &Request) -> Result<User, ApiError> {
    let (now, purpose) = (request.received_at(), Purpose::UndoTwoFactor);
    let owner = app.mailed_tokens.find(purpose, token, now).await?;
    let owner = owner.ok_or(ApiError::InvalidVerificationToken)?;
    let user = app.users.find(owner, now).await?;
    user.filter(|user| user.is_active() && user.undo_token.as_ref() == Some(token))
        .ok_or(ApiError::InvalidVerificationToken)
}

/// The second factor goes, every session with it, and nobody signs in before there is a new password: whoever turned it
/// on knows the old one, or has somebody's session.
async fn write(
    app: &App,
    user: &User,
    (token, reset): (&TokenHash, &TokenHash),
    links: &Links,
    request: &Request,
) -> Result<(), TransactionError<Stale>> {
    let (now, origin, language) = (request.received_at(), request.origin(), request.language());
    let (event, success, kind) = (Event::TwoFactorUndo, Outcome::Success, Kind::ResetPassword);
    let mut items = vec![
        app.users.undo_two_factor(user, token, reset, now),
        app.mailed_tokens.remove(Purpose::UndoTwoFactor, token),
        app.outbox.create(kind, user, links, language, origin),
        app.audit.create(user.id, event, success, origin),
    ];
    items.extend(app.two_factor.remove_all(user.id, now).await?);
    app.dynamodb.transact(Write::all(items, Stale)).await?;
    audit::log(Some(user.id), event, success, origin);
    Ok(())
}

/// What this endpoint may touch.
pub struct App {
    pub guard: Guard,
    dynamodb: DynamoDb,
    users: Users,
    two_factor: TwoFactor,
    mailed_tokens: MailedTokens,
    reset_tokens: ResetTokens,
    outbox: Outbox,
    audit: Audit,
    sessions: Sessions,
    email_token_secret: SecretString,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let dynamodb = environment.dynamodb();
        let users_table = environment.text("USERS_TABLE");
        let credentials_table = environment.text("CREDENTIALS_TABLE");
        let endpoint = Endpoint::per_client("TWO_FACTOR", "10/15m");
        let app = Self {
            guard: Guard::for_guests(&mut environment, endpoint),
            users: Users::new(dynamodb.clone(), users_table.clone()),
            two_factor: TwoFactor::new(dynamodb.clone(), credentials_table),
            mailed_tokens: MailedTokens::new(dynamodb.clone(), users_table.clone()),
            reset_tokens: environment.reset_tokens(),
            outbox: Outbox::new(users_table.clone()),
            audit: Audit::new(dynamodb.clone(), users_table),
            dynamodb,
            sessions: environment.sessions(),
            email_token_secret: environment.secret("EMAIL_TOKEN_SECRET"),
        };
        environment.finish(app)
    }
}
