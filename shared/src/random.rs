//! The one source of randomness: aws-lc's generator. `domain` gets its output as an argument.

use std::time::Duration;

use aws_lc_rs::rand::fill;

/// `N` bytes that nobody can guess.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Fails only where the operating system has no entropy source at all; then nothing may be issued.
    #[expect(
        clippy::expect_used,
        reason = "a process without randomness must not go on"
    )]
    fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A duration below this one, in milliseconds; nobody must depend on its being fair.
pub fn up_to(most: Duration) -> Duration {
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(u64::from_be_bytes(bytes()) % most)
}
