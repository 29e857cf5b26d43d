//! Refused sign-ins: the audit log, and the count of failures in a row.

use shared::auth::reauthentication::record_failure;
use shared::domain::client_info::ClientInfo;
use shared::domain::user::Status;
use shared::error::ApiError;
use shared::http::Response;
use shared::store::audit::Event;

use crate::account::Account;
use crate::app::App;

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
            Some(user) if is_failure => app.failures.count(user, client).await,
            None => Ok(app.audit.decoy_update(client).await?),
            Some(_) => Ok(()), // the client knows the password: there is nothing to hide
        }
    };
    let (recorded, counted) = tokio::join!(record, count);
    recorded?;
    counted?;
    Err(error)
}
