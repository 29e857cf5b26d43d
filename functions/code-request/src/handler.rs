use shared::StartError;
use shared::api::code_request::CodeRequest;
use shared::auth::mailed_codes::{CodeOfMail, MailedCodes};
use shared::auth::mailed_links::MailedLinks;
use shared::config::Environment;
use shared::domain::client_info::ClientInfo;
use shared::domain::email_address::EmailAddress;
use shared::domain::email_token::{TokenHash, TokenId};
use shared::domain::id::Id;
use shared::domain::mailed_code::CodePurpose;
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::random;
use shared::serve::{Endpoint, PublicGuard, RequestLimits};
use shared::store::audit::Event;
use shared::store::outbox::{Kind, Links};

const LIMIT: Endpoint = Endpoint::per_client("CODE_REQUEST", "10/1h");

pub async fn request_code(
    app: &App,
    request: Request,
    limits: RequestLimits,
) -> Result<Response, ApiError> {
    let body: CodeRequest = request.json()?;
    let email = body.email.into_inner();
    limits.charge_about(app.links.hash(&email)).await?;
    let (request_token, hash) = app.codes.mint();
    let work = write(app, &email, &hash, request.client());
    app.links.in_equal_time(work).await?;
    let answer = MailedCodes::requested(request_token);
    let message = "If this address can sign in, a mail with a code is on its way.";
    Ok(Response::ok(message, answer))
}

/// Writes the code and the mail if the address belongs to an active account, or may sign up by a code.
async fn write(
    app: &App,
    email: &EmailAddress,
    hash: &TokenHash,
    client: &ClientInfo,
) -> Result<(), ApiError> {
    let (links, now) = (&app.links, client.received_at);
    let found = links.find(email, now).await?;
    let may_sign_up = app.sign_up && (app.intranet_addresses_are_allowed || email.is_public());
    let owner = found.as_ref().map(|user| user.id);
    let recipient = match found {
        None if may_sign_up => {
            let id = Id::new(now, random::bytes());
            Some(User::new(id, email.clone(), None, None, now))
        }
        found => found.filter(User::is_active),
    };
    let token_id = TokenId::new(random::bytes());
    let mail = recipient.as_ref().map(|user| CodeOfMail {
        to: &user.email,
        owner,
        token_id: &token_id,
    });
    app.codes.create(hash, CodePurpose::SignIn, mail).await?;
    let mail = Links::button(token_id).with_code();
    let writes = |user: &User| [links.outbox.create(Kind::SignInCode, user, &mail, client)];
    let event = Event::CodeRequest;
    links.write(recipient.as_ref(), event, client, writes).await
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: PublicGuard,
    links: MailedLinks,
    codes: MailedCodes,
    /// Whether an address without an account gets a code as well.
    sign_up: bool,
    intranet_addresses_are_allowed: bool,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: PublicGuard::public(&mut environment, LIMIT),
            links: MailedLinks::from_env(&mut environment),
            codes: MailedCodes::from_env(&mut environment),
            sign_up: environment.boolean("SIGN_UP_BY_CODE", false),
            intranet_addresses_are_allowed: environment.boolean("ALLOW_INTRANET_ADDRESSES", false),
        };
        environment.finish(app)
    }
}
