//! The delivery of one mail: its envelope, and the reasons why a server refuses it.

use std::time::Duration;

use shared::domain::timestamp::Timestamp;

/// How long one try may take; shorter than the lease of an outbox entry.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// Headers that stop absence notes in reply to these mails (RFC 3834, 5), from Exchange as well ([MS-OXCMAIL],
/// 2.2.3.2.14).
pub const HEADERS: [(&str, &str); 2] = [
    ("Auto-Submitted", "auto-generated"),
    ("X-Auto-Response-Suppress", "All"),
];

/// The identity of a mail and its recipient; the same for every try.
pub struct Envelope<'a> {
    /// The id of the outbox entry.
    pub id: &'a str,
    /// The recipient's address.
    pub to: &'a str,
    /// When the event that the mail is about happened.
    pub created_at: Timestamp,
}

/// Why a server did not take a mail.
pub enum Refusal {
    /// It never will; the code says why.
    Final(String),
    /// It does not take this mail now.
    Deferred(String),
    /// It takes no mail now: all of them wait.
    Outage(String),
}

impl Refusal {
    /// Returns the mail server's reason, in a word.
    pub fn code(&self) -> &str {
        match self {
            Self::Final(code) | Self::Deferred(code) | Self::Outage(code) => code,
        }
    }
}
