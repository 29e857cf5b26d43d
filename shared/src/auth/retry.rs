//! Changes of a record that may be changed concurrently.

use crate::domain::user::User;
use crate::error::ApiError;
use crate::store::dynamodb::TransactionError;

/// The number of tries of a change.
const MAX_TRIES: u32 = 3;

/// The meaning of a condition that did not hold.
pub trait Refusal {
    /// Returns whether the record has changed since it was read, so that another try may succeed.
    fn is_stale(&self) -> bool;
}

/// The record has changed since it was read, or the token that authorised the change was used.
#[derive(Clone, Copy, Debug)]
pub struct Stale;

impl Refusal for Stale {
    fn is_stale(&self) -> bool {
        true
    }
}

impl From<Stale> for ApiError {
    fn from(_: Stale) -> Self {
        Self::ServiceUnavailable("the record kept changing".into())
    }
}

/// Writes a change of the user's record. If another change came first, reads the record again and retries, up to three
/// tries in all. Returns the record on which the change was based.
///
/// # Errors
/// The refusal of any other condition, the errors of `reread`, and `service_unavailable` if the record keeps changing.
pub async fn write_current<C, W, R>(
    mut user: User,
    write: impl Fn(User) -> W,
    reread: impl Fn() -> R,
) -> Result<User, ApiError>
where
    C: Refusal + Into<ApiError>,
    // Not `AsyncFn`: its futures are not `Send` for every lifetime, which the runtime requires.
    W: Future<Output = Result<(), TransactionError<C>>>,
    R: Future<Output = Result<User, ApiError>>,
{
    for _ in 0..MAX_TRIES {
        match write(user.clone()).await {
            Ok(()) => return Ok(user),
            Err(TransactionError::Refused(refusal)) if refusal.is_stale() => {
                user = reread().await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(ApiError::ServiceUnavailable(
        "the record kept changing".into(),
    ))
}
