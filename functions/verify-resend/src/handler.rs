use shared::StartError;
use shared::api::verify_resend::VerifyResendRequest;
use shared::config::Environment;
use shared::domain::email_address::EmailAddress;
use shared::domain::email_token::Purpose;
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::guard::Endpoint;
use shared::http::link_requests::LinkRequests;
use shared::http::{Request, Response};
use shared::store::audit::Event;
use shared::store::mailed_tokens::MailedTokens;
use shared::store::outbox::{Kind, Links};

pub async fn resend(app: &App, request: Request) -> Result<Response, ApiError> {
    let body: VerifyResendRequest = request.json()?;
    let email = body.email.into_inner();
    app.links.count(&email, &request).await?;
    let work = write(app, &request, &email);
    app.links.in_answer_time(work).await?;
    Ok(Response::done(
        "If there is something to verify about this address, a mail is on its way.",
    ))
}

/// Of an account about which there is something to verify.
async fn write(app: &App, request: &Request, email: &EmailAddress) -> Result<(), ApiError> {
    let (links, now) = (&app.links, request.received_at());
    let found = links.find(email, now).await?;
    let found = found.filter(|user| user.is_active() && !user.email_verified);
    let (token_id, token) = links.mint(Purpose::VerifyEmail);
    let (kind, language) = (Kind::VerifyEmail, request.language());
    let links_of = |user: &User| Links {
        token_id: Some(token_id.clone()),
        rejection_token_id: user.rejection.clone().map(|rejection| rejection.token_id),
    };
    let writes = |user: &User| {
        [
            links.users.set_verification_token(user.id, &token),
            app.mailed_tokens.create_verification(&token, user.id, now),
            links
                .outbox
                .create(kind, user, &links_of(user), language, request.origin()),
        ]
    };
    let event = Event::EmailVerificationRequest;
    links.write(found.as_ref(), event, request, writes).await
}

/// What this endpoint may touch.
pub struct App {
    pub links: LinkRequests,
    mailed_tokens: MailedTokens,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let endpoint = Endpoint::per_client("EMAIL_RESEND", "3/1h");
        let (dynamodb, table) = (environment.dynamodb(), environment.text("USERS_TABLE"));
        let app = Self {
            links: LinkRequests::from_env(&mut environment, endpoint),
            mailed_tokens: MailedTokens::new(dynamodb, table),
        };
        environment.finish(app)
    }
}
