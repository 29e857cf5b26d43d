use shared::StartError;
use shared::api::reset_request::ResetRequest;
use shared::auth::mailed_codes::{CodeOfMail, MailedCodes};
use shared::auth::mailed_links::MailedLinks;
use shared::config::Environment;
use shared::domain::client_info::ClientInfo;
use shared::domain::email_address::EmailAddress;
use shared::domain::email_token::{Purpose, TokenHash};
use shared::domain::mailed_code::CodePurpose;
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::serve::{Endpoint, PublicGuard, RequestLimits};
use shared::store::audit::Event;
use shared::store::outbox::{Kind, Links};
use shared::store::reset_tokens::ResetTokens;

const LIMIT: Endpoint = Endpoint::per_client("PASSWORD_RESET", "3/1h");

pub async fn request_reset(
    app: &App,
    request: Request,
    limits: RequestLimits,
) -> Result<Response, ApiError> {
    let body: ResetRequest = request.json()?;
    let email = body.email.into_inner();
    limits.charge_about(app.links.hash(&email)).await?;
    let (request_token, hash) = app.codes.mint();
    let work = write(app, &email, &hash, request.client());
    app.links.in_equal_time(work).await?;
    let message = "If there is an account with this address, a mail is on its way.";
    Ok(Response::ok(message, MailedCodes::requested(request_token)))
}

/// Writes the token and the mail if the address belongs to an active account.
async fn write(
    app: &App,
    email: &EmailAddress,
    hash: &TokenHash,
    client: &ClientInfo,
) -> Result<(), ApiError> {
    let (links, now) = (&app.links, client.received_at);
    let found = links.find(email, now).await?.filter(User::is_active);
    let (token_id, token) = links.mint(Purpose::ResetPassword);
    let owner = found.as_ref().map(|user| user.id);
    let of_mail = |user| CodeOfMail::of(user, &token_id);
    let mail = found.as_ref().map(of_mail);
    let purpose = CodePurpose::ResetPassword;
    let code = app.codes.create(hash, purpose, mail);
    tokio::try_join!(app.reset_tokens.create(&token, owner), code)?;

    // The record names the one valid token; it and the mail are written in one transaction.
    let kind = Kind::ResetPassword;
    let links_of = Links::button(token_id).with_code();
    let writes = |user: &User| {
        [
            links.users.set_reset_token(user.id, &token),
            links.outbox.create(kind, user, &links_of, client),
        ]
    };
    let event = Event::PasswordResetRequest;
    links.write(found.as_ref(), event, client, writes).await
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: PublicGuard,
    links: MailedLinks,
    reset_tokens: ResetTokens,
    codes: MailedCodes,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: PublicGuard::public(&mut environment, LIMIT),
            links: MailedLinks::from_env(&mut environment),
            reset_tokens: ResetTokens::from_env(&mut environment),
            codes: MailedCodes::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
