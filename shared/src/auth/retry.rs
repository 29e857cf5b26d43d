//! Changes of a record that somebody else may change at the same time.

use crate::domain::user::User;
use crate::error::ApiError;
use crate::store::dynamodb::TransactionError;

/// Tries at a change that meets other changes of the same record.
const MAX_TRIES: u32 = 3;

/// The meaning of a condition that did not hold.
pub trait Refusal {
    /// Whether the record has changed since it was read: another try may succeed.
    fn is_stale(&self) -> bool;
}

/// Writes a change of the user's record. Where another change came first, it reads the record again and writes on top of
/// that, three times in all. Returns the record that was changed.
///
/// # Errors
/// The refusal of any other condition, the errors of `reread`, and `service_unavailable` where the record keeps changing.
pub async fn write_current<C, W, R>(
    mut user: User,
    write: impl Fn(User) -> W,
    reread: impl Fn() -> R,
) -> Result<User, ApiError>
where
    C: Refusal + Into<ApiError>,
    // Not `AsyncFn`: its futures are not `Send` for every lifetime, as the runtime demands.
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
