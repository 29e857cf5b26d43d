//! Points in time, in milliseconds, written as RFC 3339 in UTC (`2026-11-21T10:00:00.000Z`).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

const FORMAT: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// A point in time, to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    milliseconds: i64,
}

impl Timestamp {
    /// Creates a point in time from milliseconds since the Unix epoch.
    pub fn from_milliseconds(milliseconds: i64) -> Self {
        Self { milliseconds }
    }

    /// Returns the milliseconds since the Unix epoch.
    pub fn milliseconds(self) -> i64 {
        self.milliseconds
    }

    /// Returns the whole seconds since the Unix epoch: JWT's `NumericDate` (RFC 7519, 2) and DynamoDB's TTL.
    pub fn seconds(self) -> i64 {
        self.milliseconds.div_euclid(1000)
    }

    /// Returns the time until `later`; zero if that has passed.
    pub fn until(self, later: Self) -> Duration {
        let milliseconds = later.milliseconds.saturating_sub(self.milliseconds);
        Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
    }

    /// Adds a duration; saturates at the largest timestamp.
    pub fn plus(self, duration: Duration) -> Self {
        let milliseconds = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self {
            milliseconds: self.milliseconds.saturating_add(milliseconds),
        }
    }

    /// Formats the time; `None` after the year 9999.
    pub(crate) fn written(self, format: StaticFormatDescription) -> Option<String> {
        let time = OffsetDateTime::from_unix_timestamp(self.seconds()).ok()?;
        let millisecond = u16::try_from(self.milliseconds.rem_euclid(1000)).ok()?;
        time.replace_millisecond(millisecond)
            .ok()?
            .format(format)
            .ok()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written(FORMAT).ok_or(fmt::Error)?)
    }
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.written(FORMAT);
        serializer.serialize_str(&text.ok_or_else(|| S::Error::custom("no such year"))?)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = OffsetDateTime::parse(&text, &Rfc3339).map_err(D::Error::custom)?;
        let milliseconds = time.unix_timestamp_nanos() / 1_000_000;
        i64::try_from(milliseconds)
            .map(Self::from_milliseconds)
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn is_written_as_rfc_3339_with_milliseconds() {
        assert_eq!(
            Timestamp::from_milliseconds(1_795_255_200_007).to_string(),
            "2026-11-21T10:00:00.007Z"
        );
    }

    #[test]
    fn milliseconds_are_kept_and_compared() {
        let (earlier, later) = (
            Timestamp::from_milliseconds(5),
            Timestamp::from_milliseconds(1007),
        );

        assert_eq!(later.milliseconds(), 1007);
        assert_eq!(earlier.until(later), Duration::from_millis(1002));
        assert_eq!(later.until(earlier), Duration::ZERO);
        let schema = schemars::schema_for!(Timestamp);
        assert_eq!(schema.get("title"), Some(&"Timestamp".into()));
        assert_eq!(schema.get("format"), Some(&"date-time".into()));
    }

    proptest! {
        #[test]
        fn survives_being_written_and_read(milliseconds in 0..4_102_444_800_000_i64) {
            let timestamp = Timestamp::from_milliseconds(milliseconds);
            let written = serde_json::to_string(&timestamp).unwrap();

            prop_assert_eq!(serde_json::from_str::<Timestamp>(&written).unwrap(), timestamp);
        }

        #[test]
        fn seconds_never_round_up(milliseconds in any::<i64>()) {
            let seconds = Timestamp::from_milliseconds(milliseconds).seconds();

            prop_assert!(i128::from(seconds) * 1000 <= i128::from(milliseconds));
        }
    }
}
