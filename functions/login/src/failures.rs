//! Wrong passwords and codes: the audit log, and the failures in a row that make a reset required.

use shared::auth::reauthentication::record_failure;
use shared::domain::client_info::ClientInfo;
use shared::domain::email_token::Purpose;
use shared::domain::user::{Status, User};
use shared::error::ApiError;
use shared::http::Response;
use shared::store::audit::Event;
use shared::store::dynamodb::Write;
use shared::store::outbox::{Kind, Links};

use crate::account::Account;
use crate::app::App;

/// Failures in a row, wrong passwords and codes together, after which a new password must be set by mail.
const MAX_FAILURES: u32 = 100;

/// Refuses a sign-in and records the refusal. Unknown and deleted accounts take the time of a known one (ASVS 5.0,
/// 6.3.8): if there is no user, decoys are written.
pub async fn refuse(
    app: &App,
    account: &Account,
    error: ApiError,
    client: &ClientInfo,
) -> Result<Response, ApiError> {
    let known = account.user.as_ref();
    let known = known.filter(|user| user.status != Status::Deleted);
    let id = known.map(|user| user.id);
    let is_failure = matches!(error, ApiError::InvalidCredentials);
    let locks = account.attempt.locks() && is_failure;
    let record = record_failure(&app.audit, id, Event::Login, locks, client);
    let count = async {
        match known {
            Some(user) if is_failure => count_failure(app, user, client).await,
            None => Ok(app.audit.decoy_update(client).await?),
            Some(_) => Ok(()), // the client knows the password: there is nothing to hide
        }
    };
    let (recorded, counted) = tokio::join!(record, count);
    recorded?;
    counted?;
    Err(error)
}

/// Counts a wrong password or code. After a hundred in a row without a success, however slow, a new password must be
/// set by mail (NIST SP 800-63B-4, 3.2.2).
pub async fn count_failure(app: &App, user: &User, client: &ClientInfo) -> Result<(), ApiError> {
    let failures = app.users.count_failure(user.id).await?;
    let is_last = failures.is_some_and(|failures| failures >= MAX_FAILURES);
    if !is_last || user.password_reset_required || !user.is_active() {
        return Ok(());
    }
    let (token_id, token) = app.email_tokens.mint(Purpose::ResetPassword);
    app.reset_tokens.create(&token, Some(user.id)).await?;
    let (kind, links) = (Kind::ResetRequired, Links::button(token_id));
    let writes = [
        app.users.require_reset(user.id, &token),
        app.outbox.create(kind, user, &links, client),
    ];
    let (events, writes) = ([Event::ResetRequirement], Write::all(writes, NotActive));
    let committed = app
        .audit
        .commit(user.id, &events, client, writes, NotActive);
    Ok(committed.await?)
}

/// Another request has deleted or disabled the account.
#[derive(Clone, Copy)]
struct NotActive;

impl From<NotActive> for ApiError {
    fn from(_: NotActive) -> Self {
        Self::InvalidCredentials
    }
}
