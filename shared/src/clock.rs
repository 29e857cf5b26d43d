//! The one clock. `domain` gets its time as an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::domain::timestamp::Timestamp;

/// The time of this machine.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let milliseconds = since_epoch.unwrap_or_default().as_millis();
    Timestamp::from_milliseconds(i64::try_from(milliseconds).unwrap_or(i64::MAX))
}

/// Does something, and takes no less than this time for it: what is done for one client and not for
/// another does not show, as long as it takes less.
pub async fn at_least<T>(duration: Duration, work: impl Future<Output = T>) -> T {
    tokio::join!(work, tokio::time::sleep(duration)).0
}
