//! Rate limits: the number of requests allowed within a time, and the quota left.

use std::fmt;
use std::time::Duration;

use super::duration;

/// A number of requests within a sliding window; each request counts from its own moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The maximum number of requests.
    pub max: u32,
    /// The length of the window.
    pub window: Duration,
}

impl Limit {
    /// Parses `5/15m` (a number of requests within a duration of at least a second), or `off`, which is `Some(None)`.
    pub fn parse(text: &str) -> Option<Option<Self>> {
        if text == "off" {
            return Some(None);
        }
        let (max, window) = text.split_once('/')?;
        let is_number = max.bytes().all(|byte| byte.is_ascii_digit());
        let max = max.parse().ok().filter(|max| is_number && *max > 0)?;
        let window = duration::parse(window).filter(|window| !window.is_zero())?;
        Some(Some(Self { max, window }))
    }
}

impl fmt::Display for Limit {
    /// Writes `5 in 15 minutes`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.window.as_secs();
        let units = [(86_400, "day"), (3600, "hour"), (60, "minute")];
        let whole = units
            .into_iter()
            .find(|(unit, _)| seconds.is_multiple_of(*unit));
        let (unit, name) = whole.unwrap_or((1, "second"));
        let number = seconds / unit;
        let plural = if number == 1 { "" } else { "s" };
        write!(f, "{} in {number} {name}{plural}", self.max)
    }
}

/// The default limits, for those without a variable of their own: `RATE_LIMITS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// For an API that is open to everybody.
    Strict,
    /// For teams that know their users.
    Balanced,
    /// No limits.
    Off,
}

impl Preset {
    /// Returns the preset with this name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "strict" => Some(Self::Strict),
            "balanced" => Some(Self::Balanced),
            "off" => Some(Self::Off),
            _ => None,
        }
    }

    /// Returns the limit `RATE_LIMIT_<name>`, given the strict one. A balanced limit is twice as high. The limits
    /// that people who share an address, or develop a front end, reach first are raised further or dropped.
    pub fn limit(self, name: &str, strict: Limit) -> Option<Limit> {
        let (a_minute, a_quarter) = (Duration::from_secs(60), Duration::from_secs(15 * 60));
        let balanced = |max, window| Some(Limit { max, window });
        match (self, name) {
            (Self::Off, _) => None,
            (Self::Strict, _) => Some(strict),
            (Self::Balanced, "GLOBAL") => balanced(1000, a_quarter),
            (Self::Balanced, "GUEST") => balanced(60, a_minute),
            (Self::Balanced, "USER") => balanced(120, a_minute),
            (Self::Balanced, "ADMIN") => balanced(300, a_minute),
            (Self::Balanced, "PROFILE" | "SESSIONS") => None,
            (Self::Balanced, _) => balanced(strict.max.saturating_mul(2), strict.window),
        }
    }
}

/// A limit with its public name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The name, such as `login`.
    pub name: String,
    /// The limit.
    pub limit: Limit,
}

/// A client's remaining quota under a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The policy.
    pub policy: Policy,
    /// The number of requests that still pass now.
    pub remaining: u32,
    /// The time until one more request is free; with 0 remaining, until a request passes again.
    pub reset: Duration,
}

impl Quota {
    /// Returns the quota that a client must heed: the one with the fewest requests left; among equals, the one with the
    /// longest window. If nothing is left, its reset is the moment from which all of them let a request pass.
    pub fn tightest(quotas: &[Self]) -> Option<Self> {
        let rank = |quota: &&Self| {
            (
                quota.remaining,
                std::cmp::Reverse(quota.policy.limit.window),
            )
        };
        let mut tightest = quotas.iter().min_by_key(rank)?.clone();
        let used_up = quotas.iter().filter(|quota| quota.remaining == 0);
        if let Some(last) = used_up.map(|quota| quota.reset).max() {
            tightest.reset = last;
        }
        Some(tightest)
    }

    /// Returns the reset in whole seconds, rounded up, so that a request passes after that time.
    pub fn reset_seconds(&self) -> u64 {
        self.reset
            .as_millis()
            .div_ceil(1000)
            .try_into()
            .unwrap_or(u64::MAX)
    }

    /// Returns the field `RateLimit` (draft-ietf-httpapi-ratelimit-headers, 4).
    pub fn header(&self) -> String {
        let (name, left) = (&self.policy.name, self.remaining);
        format!("\"{name}\";r={left};t={}", self.reset_seconds())
    }
}

impl fmt::Display for Policy {
    /// Writes the field `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers, 3).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limit { max, window } = self.limit;
        write!(f, "\"{}\";q={max};w={}", self.name, window.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(name: &str, window: u64, remaining: u32, reset: u64) -> Quota {
        let (max, window) = (5, Duration::from_secs(window));
        let name = name.to_owned();
        let limit = Limit { max, window };
        Quota {
            policy: Policy { name, limit },
            remaining,
            reset: Duration::from_millis(reset),
        }
    }

    #[test]
    fn the_one_with_the_fewest_left_is_named_and_of_equals_the_longest_window() {
        let few = [quota("guest", 60, 3, 1000), quota("login", 900, 4, 2000)];
        let equal = [quota("guest", 60, 4, 1000), quota("login", 900, 4, 2000)];

        assert_eq!(Quota::tightest(&few), Some(few[0].clone()));
        assert_eq!(Quota::tightest(&equal), Some(equal[1].clone()));
        assert_eq!(Quota::tightest(&[]), None);
    }

    #[test]
    fn limits_by_example() {
        let (max, window) = (5, Duration::from_secs(900));
        assert_eq!(Limit::parse("5/15m"), Some(Some(Limit { max, window })));
        assert_eq!(Limit::parse("off"), Some(None));
        for text in [
            "", "5", "5/", "/15m", "0/15m", "+5/15m", "-5/15m", "5/0s", "5/15M",
        ] {
            assert_eq!(Limit::parse(text), None, "{text}");
        }
    }

    #[test]
    fn presets_by_example() {
        let strict = Limit::parse("5/15m").unwrap().unwrap();
        for (preset, name, limit) in [
            ("strict", "GLOBAL", "5/15m"),
            ("strict", "PROFILE", "5/15m"),
            ("balanced", "GLOBAL", "1000/15m"),
            ("balanced", "GUEST", "60/1m"),
            ("balanced", "USER", "120/1m"),
            ("balanced", "ADMIN", "300/1m"),
            ("balanced", "PROFILE", "off"),
            ("balanced", "SESSIONS", "off"),
            ("balanced", "LOGIN", "10/15m"),
            ("off", "LOGIN", "off"),
        ] {
            let preset = Preset::parse(preset).unwrap();
            assert_eq!(
                Some(preset.limit(name, strict)),
                Limit::parse(limit),
                "{name}"
            );
        }
        assert_eq!(Preset::parse("Strict"), None);
    }

    #[test]
    fn a_limit_is_said_in_the_largest_whole_unit() {
        for (seconds, words) in [
            (1, "5 in 1 second"),
            (60, "5 in 1 minute"),
            (90, "5 in 90 seconds"),
            (900, "5 in 15 minutes"),
            (3600, "5 in 1 hour"),
            (172_800, "5 in 2 days"),
        ] {
            let (max, window) = (5, Duration::from_secs(seconds));
            assert_eq!(Limit { max, window }.to_string(), words);
        }
    }

    #[test]
    fn when_several_are_used_up_the_last_of_them_decides_when_a_request_passes() {
        let quotas = [
            quota("guest", 60, 0, 40_001),
            quota("login", 900, 0, 2000),
            quota("global", 900, 1, 90_000),
        ];

        let tightest = Quota::tightest(&quotas).unwrap();

        assert_eq!(tightest.header(), "\"login\";r=0;t=41");
        assert_eq!(tightest.policy.to_string(), "\"login\";q=5;w=900");
    }
}
