//! The one clock. `domain` gets its time as an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

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

/// Does something, and takes a multiple of this time for it: what is done for one client and not for another does not show,
/// on a machine that is slow at the moment either, unless it crosses the border between two multiples.
pub async fn in_multiples_of<T>(step: Duration, work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let result = work.await;
    let steps = started.elapsed().as_millis() / step.as_millis().max(1) + 1;
    let steps = u32::try_from(steps).unwrap_or(u32::MAX);
    tokio::time::sleep_until(started + step.saturating_mul(steps)).await;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_takes_longer_than_a_step_takes_two() {
        let step = Duration::from_millis(50);
        for (work, expected) in [(0, 50), (30, 50), (60, 100), (110, 150)] {
            let started = Instant::now();

            let work = tokio::time::sleep(Duration::from_millis(work));
            in_multiples_of(step, work).await;

            let took = started.elapsed();
            let expected = Duration::from_millis(expected);
            assert!(took >= expected, "{took:?}");
        }
    }
}
