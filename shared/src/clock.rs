//! The one clock. `domain` gets its time as an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::domain::timestamp::Timestamp;

/// The time of this machine.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let milliseconds = since_epoch.unwrap_or_default().as_millis();
    Timestamp::from_milliseconds(i64::try_from(milliseconds).unwrap_or(i64::MAX))
}

/// What follows from something that is done and cannot be undone: the client must get its answer, so
/// this may take no longer than a moment, and its failure is the log's alone.
pub async fn aftermath<E: std::fmt::Display>(
    what: &str,
    work: impl Future<Output = Result<(), E>>,
) {
    const MOMENT: Duration = Duration::from_millis(300);
    match tokio::time::timeout(MOMENT, work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(what, cause = %error, "left undone"),
        Err(_) => tracing::error!(what, cause = "no answer in time", "left undone"),
    }
}

/// Does something, and takes no less than this time for it: what is done for one client and not for
/// another does not show, as long as it takes less.
pub async fn at_least<T>(duration: Duration, work: impl Future<Output = T>) -> T {
    tokio::join!(work, tokio::time::sleep(duration)).0
}
