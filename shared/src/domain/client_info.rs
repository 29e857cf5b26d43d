//! Information about the client of a request.

use super::language::Language;
use super::timestamp::Timestamp;

/// The client of a request, for the audit log, mails and rate limits.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// The client's IP address; empty without a client.
    pub ip: String,
    /// The header `User-Agent`, without control characters, at most 256 characters.
    pub user_agent: String,
    /// The client's preferred language.
    pub language: Language,
    /// The header `Origin`, at most 256 characters: the front end that mailed links lead to, if it is one of ours.
    pub origin: Option<String>,
    /// API Gateway's identifier of the request.
    pub request_id: String,
    /// The time at which the request was received.
    pub received_at: Timestamp,
}

impl ClientInfo {
    /// Returns the information for work without a client, such as an event of another service.
    pub fn none(now: Timestamp) -> Self {
        Self {
            ip: String::new(),
            user_agent: String::new(),
            language: Language::default(),
            origin: None,
            request_id: String::new(),
            received_at: now,
        }
    }
}
