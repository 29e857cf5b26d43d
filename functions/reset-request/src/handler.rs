use std::time::Duration;

use shared::StartError;
use shared::config::Environment;
use shared::domain::email_address::EmailAddress;
use shared::domain::email_token::{self, Purpose};
use shared::domain::id::Id;
use shared::domain::secret::Secret;
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::guard::{Endpoint, Guard};
use shared::http::{Request, Response};
use shared::store::audit::{self, Audit, Event, Outcome};
use shared::store::dynamodb::{DynamoDb, TransactionError, Write};
use shared::store::outbox::{Kind, Outbox};
use shared::store::reset_tokens::ResetTokens;
use shared::store::stand_ins::StandIns;
use shared::store::users::Users;
use shared::{clock, random};

/// The account has changed since its record was read.
#[derive(Clone, Copy)]
struct Refused;

/// The same answer after the same time for every address. The work is the same too; what differs by the
/// size of an item that is there or not ends within this time.
const ANSWER_TIME: Duration = Duration::from_millis(100);

pub async fn request_reset(app: &App, request: Request) -> Result<Response, ApiError> {
    let email = request.parse(|fields| fields.required("email", EmailAddress::parse))?;
    app.guard.count_about(&request, &email.canonical()).await?;
    clock::at_least(ANSWER_TIME, write(app, &request, &email)).await?;
    Ok(Response::done(
        "If there is an account with this address, a mail is on its way.",
    ))
}

/// Where there is no account, or none that is active, stand-ins are read and written in its place.
async fn write(app: &App, request: &Request, email: &EmailAddress) -> Result<(), ApiError> {
    let (now, origin) = (request.received_at(), request.origin());
    let claimed = app.users.find_id_by_email(email, now).await?;
    let id = claimed.unwrap_or_else(|| Id::new(now, random::bytes()));
    let found = app.users.find(id, now).await?.filter(User::is_active);

    let (secret, purpose) = (&app.email_token_secret, Purpose::ResetPassword);
    let (token_id, token) = email_token::mint(secret, purpose, random::bytes());
    let owner = found.as_ref().map(|user| user.id);
    app.reset_tokens.create(&token, owner).await?;

    // The record names the one token that is valid; the mail is written with it, or not at all.
    let (event, success) = (Event::PasswordResetRequest, Outcome::Success);
    let (kind, language) = (Kind::ResetPassword, request.language());
    let writes = match &found {
        Some(user) => [
            app.users.set_reset_token(user.id, &token),
            app.outbox
                .create(kind, user, Some(&token_id), language, now),
            app.audit.create(user.id, event, success, origin),
        ],
        None => [(); 3].map(|()| app.stand_ins.create(now)),
    };
    let writes = writes.map(|item| Write::new(item, Refused)).into();
    match app.dynamodb.transact(writes).await {
        Ok(()) => audit::log(owner, event, success, origin),
        Err(TransactionError::Refused(Refused)) => {
            audit::log(owner, event, Outcome::Failure, origin)
        }
        Err(TransactionError::Store(error)) => return Err(error.into()),
    }
    Ok(())
}

/// What this endpoint may touch.
pub struct App {
    pub guard: Guard,
    dynamodb: DynamoDb,
    users: Users,
    outbox: Outbox,
    audit: Audit,
    stand_ins: StandIns,
    reset_tokens: ResetTokens,
    email_token_secret: Secret,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let dynamodb = environment.dynamodb();
        let users_table = environment.text("USERS_TABLE");
        let endpoint = Endpoint::per_client("PASSWORD_RESET", "3/1h");
        let app = Self {
            guard: Guard::for_guests(&mut environment, endpoint),
            users: Users::new(dynamodb.clone(), users_table.clone()),
            outbox: Outbox::new(users_table.clone()),
            audit: Audit::new(dynamodb.clone(), users_table.clone()),
            stand_ins: StandIns::new(users_table),
            dynamodb,
            reset_tokens: environment.reset_tokens(),
            email_token_secret: environment.secret("EMAIL_TOKEN_SECRET"),
        };
        environment.finish(app)
    }
}
