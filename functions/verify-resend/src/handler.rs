use std::time::Duration;

use shared::StartError;
use shared::config::Environment;
use shared::domain::email_address::EmailAddress;
use shared::domain::email_token::{self, Purpose};
use shared::domain::id::Id;
use shared::domain::secret::Secret;
use shared::error::ApiError;
use shared::http::guard::{Endpoint, Guard};
use shared::http::{Request, Response};
use shared::store::audit::{self, Audit, Event, Outcome};
use shared::store::dynamodb::{DynamoDb, TransactionError, Write};
use shared::store::outbox::{Kind, Outbox};
use shared::store::stand_ins::StandIns;
use shared::store::users::Users;
use shared::store::verification_tokens::VerificationTokens;
use shared::{clock, random};

/// The account has changed since its record was read.
#[derive(Clone, Copy)]
struct Refused;

/// The same answer after the same time for every address. The work is the same too; what differs by the
/// size of an item that is there or not ends within this time.
const ANSWER_TIME: Duration = Duration::from_millis(100);

pub async fn resend(app: &App, request: Request) -> Result<Response, ApiError> {
    let email = request.parse(|fields| fields.required("email", EmailAddress::parse))?;
    app.guard.count_about(&request, &email.canonical()).await?;
    clock::at_least(ANSWER_TIME, write(app, &request, &email)).await?;
    Ok(Response::done(
        "If there is something to verify about this address, a mail is on its way.",
    ))
}

/// Where there is no account, or nothing to verify about it, stand-ins are read and written in its place.
async fn write(app: &App, request: &Request, email: &EmailAddress) -> Result<(), ApiError> {
    let now = request.received_at();
    let claimed = app.users.find_id_by_email(email, now).await?;
    let id = claimed.unwrap_or_else(|| Id::new(now, random::bytes()));
    let found = app.users.find(id, now).await?;
    let found = found.filter(|user| user.is_active() && !user.email_verified);

    let (secret, purpose) = (&app.email_token_secret, Purpose::VerifyEmail);
    let (token_id, token) = email_token::mint(secret, purpose, random::bytes());
    let (kind, language) = (Kind::VerifyEmail, request.language());
    let (event, success, origin) = (
        Event::EmailVerificationRequest,
        Outcome::Success,
        request.origin(),
    );
    let writes = match &found {
        Some(user) => [
            app.users.set_verification_token(user.id, &token),
            app.verification_tokens.create(&token, user.id, now),
            app.outbox
                .create(kind, user, Some(&token_id), language, now),
            app.audit.create(user.id, event, success, origin),
        ],
        None => [(); 4].map(|()| app.stand_ins.create(now)),
    };
    let writes = writes.map(|item| Write::new(item, Refused)).into();
    match app.dynamodb.transact(writes).await {
        Ok(()) => audit::log(found.map(|user| user.id), event, success, origin),
        Err(TransactionError::Refused(Refused)) => {
            audit::log(found.map(|user| user.id), event, Outcome::Failure, origin);
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
    verification_tokens: VerificationTokens,
    outbox: Outbox,
    audit: Audit,
    stand_ins: StandIns,
    email_token_secret: Secret,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let dynamodb = environment.dynamodb();
        let users_table = environment.text("USERS_TABLE");
        let endpoint = Endpoint::per_client("EMAIL_RESEND", "3/1h");
        let app = Self {
            guard: Guard::for_guests(&mut environment, endpoint),
            users: Users::new(dynamodb.clone(), users_table.clone()),
            verification_tokens: VerificationTokens::new(dynamodb.clone(), users_table.clone()),
            outbox: Outbox::new(users_table.clone()),
            audit: Audit::new(dynamodb.clone(), users_table.clone()),
            stand_ins: StandIns::new(users_table),
            dynamodb,
            email_token_secret: environment.secret("EMAIL_TOKEN_SECRET"),
        };
        environment.finish(app)
    }
}
