use shared::StartError;
use shared::api::reset_request::ResetRequest;
use shared::config::Environment;
use shared::domain::email_address::EmailAddress;
use shared::domain::email_token::Purpose;
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::guard::Endpoint;
use shared::http::link_requests::LinkRequests;
use shared::http::{Request, Response};
use shared::store::audit::Event;
use shared::store::outbox::{Kind, Links};
use shared::store::reset_tokens::ResetTokens;

pub async fn request_reset(app: &App, request: Request) -> Result<Response, ApiError> {
    let body: ResetRequest = request.json()?;
    let email = body.email.into_inner();
    app.links.count(&email, &request).await?;
    let work = write(app, &request, &email);
    app.links.in_answer_time(work).await?;
    Ok(Response::done(
        "If there is an account with this address, a mail is on its way.",
    ))
}

/// Of an account that is active.
async fn write(app: &App, request: &Request, email: &EmailAddress) -> Result<(), ApiError> {
    let (links, now) = (&app.links, request.received_at());
    let found = links.find(email, now).await?.filter(User::is_active);
    let (token_id, token) = links.mint(Purpose::ResetPassword);
    let owner = found.as_ref().map(|user| user.id);
    app.reset_tokens.create(&token, owner).await?;

    // The record names the one token that is valid; the mail is written with it, or not at all.
    let (kind, language) = (Kind::ResetPassword, request.language());
    let links_of = Links::button(token_id);
    let writes = |user: &User| {
        [
            links.users.set_reset_token(user.id, &token),
            links
                .outbox
                .create(kind, user, &links_of, language, request.origin()),
        ]
    };
    let event = Event::PasswordResetRequest;
    links.write(found.as_ref(), event, request, writes).await
}

/// What this endpoint may touch.
pub struct App {
    pub links: LinkRequests,
    reset_tokens: ResetTokens,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let endpoint = Endpoint::per_client("PASSWORD_RESET", "3/1h");
        let app = Self {
            links: LinkRequests::from_env(&mut environment, endpoint),
            reset_tokens: environment.reset_tokens(),
        };
        environment.finish(app)
    }
}
