//! Work that is bounded in time, and answers that take the same time for everybody.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

/// The maximum delay of an answer by a best-effort step.
const MAX_DELAY: Duration = Duration::from_millis(300);

/// Runs a follow-up of a committed change, such as removing sessions that the change has made invalid. It takes at most
/// 300 ms; a failure is logged and never reaches the client.
pub async fn best_effort<E: Display>(what: &str, work: impl Future<Output = Result<(), E>>) {
    match tokio::time::timeout(MAX_DELAY, work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(what, cause = %error, "left undone"),
        Err(_) => tracing::error!(what, cause = "no answer in time", "left undone"),
    }
}

/// Does the work and returns after the next multiple of `step`, so that the time of an answer does not reveal which
/// work was done (ASVS 5.0, 6.3.8). Work that exceeds a multiple on a slow machine takes one step more.
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
    async fn work_that_takes_longer_than_a_step_takes_two() {
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
