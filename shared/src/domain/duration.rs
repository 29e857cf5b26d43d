//! Durations in the configuration.

use std::time::Duration;

/// Ten years: no sum of a time and a duration overflows.
const MAX: Duration = days(3650);

/// Returns a duration of this many minutes.
pub const fn minutes(number: u64) -> Duration {
    Duration::from_secs(number * 60)
}

/// Returns a duration of this many days.
pub const fn days(number: u64) -> Duration {
    Duration::from_secs(number * 24 * 60 * 60)
}

/// Parses whole seconds in the syntax of `humantime`, at most ten years. `None` for any other text, and for upper-case
/// units: the crate reads `15M` as months, which is a typing error here.
pub fn parse(text: &str) -> Option<Duration> {
    let has_upper_case = text.bytes().any(|byte| byte.is_ascii_uppercase());
    let duration = humantime::parse_duration(text).ok()?;
    let is_whole = duration.subsec_nanos() == 0;
    (is_whole && !has_upper_case && duration <= MAX).then_some(duration)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_by_example() {
        for (text, seconds) in [
            ("0s", 0),
            ("30s", 30),
            ("15m", 900),
            ("1h", 3600),
            ("7d", 604_800),
            ("1h 30m", 5400),
            ("3650d", 315_360_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "s",
            "15",
            "15M",
            "1ms",
            "1.5s",
            "-1s",
            "+1s",
            "3651d",
            "99999999999999999999d",
            "1м",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn units_have_their_lengths() {
        assert_eq!(Some(minutes(90)), parse("90m"));
        assert_eq!(Some(days(90)), parse("90d"));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in any::<String>()) {
            let _ = parse(&text);
        }
    }
}
