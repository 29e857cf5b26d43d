//! Identifiers: ULIDs, typed by the thing they name, so that no key is built from the wrong one.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use ulid::{ULID_LEN, Ulid};

use super::timestamp::Timestamp;

/// The identifier of a `T`: 48 bits of time, 80 bits of randomness, 26 characters.
pub struct Id<T> {
    ulid: Ulid,
    of: PhantomData<fn() -> T>,
}

/// The things that an identifier can name.
pub mod named {
    /// A user.
    pub enum User {}
    /// A session.
    pub enum Session {}
    /// A passkey.
    pub enum Passkey {}
}

/// The identifier of a user.
pub type UserId = Id<named::User>;

/// The identifier of a session. It authenticates nothing.
pub type SessionId = Id<named::Session>;

/// The identifier of a passkey.
pub type PasskeyId = Id<named::Passkey>;

/// The text is not an identifier in its canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidId;

impl<T> Id<T> {
    /// Creates an identifier from the time and 80 of the 128 random bits.
    pub fn new(now: Timestamp, random: [u8; 16]) -> Self {
        let milliseconds = u64::try_from(now.milliseconds()).unwrap_or(0);
        Self {
            ulid: Ulid::from_parts(milliseconds, u128::from_be_bytes(random)),
            of: PhantomData,
        }
    }

    /// Returns the 128 bits.
    pub fn to_bytes(self) -> [u8; 16] {
        self.ulid.to_bytes()
    }

    /// Returns the time at which it was created.
    pub fn time(self) -> Timestamp {
        let milliseconds = self.ulid.timestamp_ms();
        Timestamp::from_milliseconds(i64::try_from(milliseconds).unwrap_or(i64::MAX))
    }
}

impl<T> FromStr for Id<T> {
    type Err = InvalidId;

    /// Parses an identifier.
    ///
    /// # Errors
    /// `InvalidId` for anything but the 26 upper-case characters that `Display` writes: each identifier has only one
    /// spelling.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let ulid = Ulid::from_string(text).map_err(|_| InvalidId)?;
        if ulid.array_to_str(&mut [0; ULID_LEN]) != text {
            return Err(InvalidId);
        }
        let of = PhantomData;
        Ok(Self { ulid, of })
    }
}

impl<T> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.ulid.array_to_str(&mut [0; ULID_LEN]))
    }
}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T> JsonSchema for Id<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Id".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$" })
    }
}

// Implemented by hand: derived implementations would require the same traits of `T`, which is only a marker.
impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.ulid == other.ulid
    }
}
impl<T> Eq for Id<T> {}

impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Id<T> {
    /// Orders by the time of creation.
    fn cmp(&self, other: &Self) -> Ordering {
        self.ulid.cmp(&other.ulid)
    }
}

impl<T> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.ulid.array_to_str(&mut [0; ULID_LEN]))
    }
}

impl<'de, T> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|InvalidId| D::Error::custom("not an identifier"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Thing;

    #[test]
    fn another_spelling_is_not_the_same_identifier() {
        let text = Id::<Thing>::new(Timestamp::from_milliseconds(1), [0xAB; 16]).to_string();

        assert!(text.to_lowercase().parse::<Id<Thing>>().is_err());
        assert!(text[1..].parse::<Id<Thing>>().is_err());
        assert!("".parse::<Id<Thing>>().is_err());
        assert!(
            "8ZZZZZZZZZZZZZZZZZZZZZZZZZ".parse::<Id<Thing>>().is_err(),
            "over 128 bits"
        );
    }

    #[test]
    fn the_schema_and_the_log_have_the_text() {
        let id = Id::<Thing>::new(Timestamp::from_milliseconds(1), [0xAB; 16]);

        assert_eq!(format!("{id:?}"), id.to_string());
        let schema = schemars::schema_for!(Id<Thing>);
        assert_eq!(schema.get("title"), Some(&"Id".into()));
        assert_eq!(schema.get("type"), Some(&"string".into()));
    }

    proptest! {
        #[test]
        fn survives_being_written_and_read(milliseconds in 0..(1_i64 << 48), random in any::<[u8; 16]>()) {
            let id = Id::<Thing>::new(Timestamp::from_milliseconds(milliseconds), random);

            prop_assert_eq!(id.to_string().parse::<Id<Thing>>(), Ok(id));
        }
    }
}
