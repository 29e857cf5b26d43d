//! The delivery of one mail: its envelope, and why a server refuses it.

use std::time::Duration;

use shared::domain::timestamp::Timestamp;

/// How long one try may take: less than an entry of the outbox is leased for.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// No mail program answers these mails with an absence note (RFC 3834, 5), Exchange included ([MS-OXCMAIL], 2.2.3.2.14).
pub const HEADERS: [(&str, &str); 2] = [
    ("Auto-Submitted", "auto-generated"),
    ("X-Auto-Response-Suppress", "All"),
];

/// Which mail it is, and whose; the same for every try at it.
pub struct Envelope<'a> {
    /// The entry's in the outbox.
    pub id: &'a str,
    /// The address.
    pub to: &'a str,
    /// When its cause happened.
    pub created_at: Timestamp,
}

/// Why a mail was not taken.
pub enum Refusal {
    /// It never will be: the code says why.
    Final(String),
    /// For now; this mail alone.
    Deferred(String),
    /// Nor would any other be: all of them wait.
    Outage(String),
}

impl Refusal {
    /// What the mail server said, in a word.
    pub fn code(&self) -> &str {
        match self {
            Self::Final(code) | Self::Deferred(code) | Self::Outage(code) => code,
        }
    }
}
