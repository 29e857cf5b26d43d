use shared::StartError;
use shared::api::verify_resend::VerifyResendRequest;
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
use shared::store::mailed_tokens::MailedTokens;
use shared::store::outbox::{Kind, Links};

const LIMIT: Endpoint = Endpoint::per_client("EMAIL_RESEND", "3/1h");

pub async fn resend(
    app: &App,
    request: Request,
    limits: RequestLimits,
) -> Result<Response, ApiError> {
    let body: VerifyResendRequest = request.json()?;
    let email = body.email.into_inner();
    limits.charge_about(app.links.hash(&email)).await?;
    let (request_token, hash) = app.codes.mint();
    let work = write(app, &email, &hash, request.client());
    app.links.in_equal_time(work).await?;
    let message = "If there is something to verify about this address, a mail is on its way.";
    Ok(Response::ok(message, MailedCodes::requested(request_token)))
}

/// Writes the token and the mail if the address belongs to an active, unverified account.
async fn write(
    app: &App,
    email: &EmailAddress,
    hash: &TokenHash,
    client: &ClientInfo,
) -> Result<(), ApiError> {
    let (links, now) = (&app.links, client.received_at);
    let found = links.find(email, now).await?;
    let found = found.filter(|user| user.is_active() && !user.email_verified);
    let (token_id, token) = links.mint(Purpose::VerifyEmail);
    let of_mail = |user| CodeOfMail::of(user, &token_id);
    let mail = found.as_ref().map(of_mail);
    let (codes, purpose) = (&app.codes, CodePurpose::VerifyEmail);
    codes.create_beside_link(hash, purpose, mail).await;
    let kind = Kind::VerifyEmail;
    let links_of = |user: &User| Links {
        token_id: Some(token_id.clone()),
        rejection_token_id: user.rejection.clone().map(|rejection| rejection.token_id),
        has_code: true,
    };
    let writes = |user: &User| {
        [
            links.users.set_verification_token(user.id, &token),
            app.mailed_tokens.create_verification(&token, user.id, now),
            links.outbox.create(kind, user, &links_of(user), client),
        ]
    };
    let event = Event::EmailVerificationRequest;
    links.write(found.as_ref(), event, client, writes).await
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: PublicGuard,
    links: MailedLinks,
    mailed_tokens: MailedTokens,
    codes: MailedCodes,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: PublicGuard::public(&mut environment, LIMIT),
            links: MailedLinks::from_env(&mut environment),
            mailed_tokens: MailedTokens::from_env(&mut environment),
            codes: MailedCodes::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
