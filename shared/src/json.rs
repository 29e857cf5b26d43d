//! JSON from elsewhere, and ours.

use serde::{Deserialize, Serialize};

/// Bytes that most texts have room in.
const USUAL_LENGTH: usize = 1000;

/// What the bytes say; nothing where they are no such JSON. Faster than `serde_json::from_slice`, which looks at
/// the encoding of each text in them.
pub(crate) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let text = str::from_utf8(bytes).ok()?;
    serde_json::from_str(text).ok()
}

/// As JSON.
///
/// # Panics
/// Never for plain structs and maps with string keys.
#[expect(clippy::expect_used, reason = "plain data is what is written here")]
pub(crate) fn write(value: &impl Serialize) -> String {
    let mut json = Vec::with_capacity(USUAL_LENGTH);
    serde_json::to_writer(&mut json, value).expect("plain data");
    String::from_utf8(json).expect("JSON is UTF-8")
}
