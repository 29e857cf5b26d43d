//! What is known of the client that has sent a request.

use super::language::Language;
use super::timestamp::Timestamp;

/// The client of a request, for the audit log, for mails and for limits.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// The client's IP address; empty where there is no client.
    pub ip: String,
    /// The header `User-Agent`, without control characters, at most 256 characters.
    pub user_agent: String,
    /// The language that the client prefers.
    pub language: Language,
    /// API Gateway's identifier of the request.
    pub request_id: String,
    /// When the request was received.
    pub received_at: Timestamp,
}

impl ClientInfo {
    /// For work that no client has asked for, such as an event of another service.
    pub fn none(now: Timestamp) -> Self {
        Self {
            ip: String::new(),
            user_agent: String::new(),
            language: Language::default(),
            request_id: String::new(),
            received_at: now,
        }
    }
}
