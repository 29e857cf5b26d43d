//! The only source of randomness: aws-lc's generator. `domain` gets its output as an argument.

use std::time::Duration;

use aws_lc_rs::rand::fill;

/// Returns `N` unpredictable bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Fails only if the operating system has no entropy source; then nothing may be issued.
    #[expect(
        clippy::expect_used,
        reason = "a process without randomness must not go on"
    )]
    fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// Returns a random duration below `most`, in whole milliseconds; the distribution is not exactly uniform.
pub fn up_to(most: Duration) -> Duration {
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(u64::from_be_bytes(bytes()) % most)
}
