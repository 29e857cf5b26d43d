use shared::StartError;
use shared::api::two_factor_undo::TwoFactorUndoRequest;
use shared::auth::email_tokens::EmailTokens;
use shared::auth::retry::{Stale, write_current};
use shared::config::Environment;
use shared::domain::client_info::ClientInfo;
use shared::domain::email_token::{Purpose, TokenHash};
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::serve::{Endpoint, PublicGuard};
use shared::store::audit::{Audit, Event};
use shared::store::dynamodb::{TransactionError, Write};
use shared::store::identities::Identities;
use shared::store::mailed_tokens::MailedTokens;
use shared::store::outbox::{Kind, Links, Outbox};
use shared::store::passkeys::PasskeyStore;
use shared::store::reset_tokens::ResetTokens;
use shared::store::sessions::Sessions;
use shared::store::two_factor::TwoFactorStore;
use shared::store::users::Users;
use shared::timing;

pub async fn undo(app: &App, request: Request) -> Result<Response, ApiError> {
    let client = request.client();
    let body: TwoFactorUndoRequest = request.json()?;
    let token = body.token.into_inner();
    let (reset_id, reset) = app.email_tokens.mint(Purpose::ResetPassword);
    let links = Links::button(reset_id);
    let user = find_owner(app, &token, client).await?;
    app.reset_tokens.create(&reset, Some(user.id)).await?;
    let (token, reset, links) = (&token, &reset, &links);
    let written = write_current(
        user,
        |user| write(app, user, (token, reset), links, client),
        || find_owner(app, token, client),
    );
    let user = written.await?;
    // The record already rejects the sessions.
    let all = app.sessions.revoke_all(user.id);
    timing::best_effort("removing the sessions that are over", all).await;
    Ok(Response::done(
        "Two-factor authentication is off, and all devices are signed out. \
         A mail to set a new password is on its way.",
    ))
}

async fn find_owner(app: &App, token: &TokenHash, client: &ClientInfo) -> Result<User, ApiError> {
    let (now, purpose) = (client.received_at, Purpose::UndoTwoFactor);
    let owner = app.mailed_tokens.find(purpose, token, now).await?;
    let owner = owner.ok_or(ApiError::InvalidVerificationToken)?;
    let user = app.users.find(owner, now).await?;
    user.filter(|user| user.is_active() && user.undo_token.as_ref() == Some(token))
        .ok_or(ApiError::InvalidVerificationToken)
}

/// Removes the second factor, the passkeys and the identities of other providers, ends every session, and blocks
/// sign-in until a new password is set: whoever turned the second factor on knows the old password or holds a session
/// of the account.
async fn write(
    app: &App,
    user: User,
    (token, reset): (&TokenHash, &TokenHash),
    links: &Links,
    client: &ClientInfo,
) -> Result<(), TransactionError<Stale>> {
    let now = client.received_at;
    let mut items = vec![
        app.users.undo_two_factor(&user, token, reset, now),
        app.mailed_tokens.remove(Purpose::UndoTwoFactor, token),
        app.outbox.create(Kind::ResetPassword, &user, links, client),
    ];
    items.extend(app.two_factor.remove_all(user.id, now).await?);
    let passkeys = user.passkeys.values();
    items.extend(passkeys.map(|passkey| app.passkeys.remove(&passkey.credential_id)));
    let identities = user.identities.values();
    items.extend(identities.map(|identity| app.identities.remove(&identity.id(), user.id)));
    let (events, writes) = ([Event::TwoFactorUndo], Write::all(items, Stale));
    app.audit
        .commit(user.id, &events, client, writes, Stale)
        .await
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: PublicGuard,
    users: Users,
    two_factor: TwoFactorStore,
    passkeys: PasskeyStore,
    identities: Identities,
    mailed_tokens: MailedTokens,
    reset_tokens: ResetTokens,
    outbox: Outbox,
    audit: Audit,
    sessions: Sessions,
    email_tokens: EmailTokens,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: PublicGuard::public(&mut environment, Endpoint::TWO_FACTOR),
            users: Users::from_env(&mut environment),
            two_factor: TwoFactorStore::from_env(&mut environment),
            passkeys: PasskeyStore::from_env(&mut environment),
            identities: Identities::from_env(&mut environment),
            mailed_tokens: MailedTokens::from_env(&mut environment),
            reset_tokens: ResetTokens::from_env(&mut environment),
            outbox: Outbox::from_env(&mut environment),
            audit: Audit::from_env(&mut environment),
            sessions: Sessions::from_env(&mut environment),
            email_tokens: EmailTokens::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
