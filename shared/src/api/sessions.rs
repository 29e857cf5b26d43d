//! `GET` and `DELETE /api/auth/sessions`. The answer to `DELETE` is only a message.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::domain::device_token::DeviceId;
use crate::domain::session::SessionId;
use crate::domain::timestamp::Timestamp;

/// The body of a request to end sessions: empty, and may be left out.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct EndSessionsRequest {}

/// The caller's sessions and devices.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionsAnswer {
    /// The sessions, newest first.
    pub sessions: Vec<Session>,
    /// The devices with valid tokens, newest first.
    pub devices: Vec<Device>,
}

/// A device from which the user has signed in. The identifier authenticates nothing.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// The device's identifier.
    pub id: DeviceId,
    /// The time of the first sign-in.
    pub created_at: Timestamp,
    /// The time of the last sign-in.
    pub last_used_at: Timestamp,
    /// The IP address of the last sign-in.
    pub ip: String,
    /// The user agent of the last sign-in.
    pub user_agent: String,
}

/// A session as shown to its user. The identifier authenticates nothing.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// The session's identifier.
    pub id: SessionId,
    /// The time of the sign-in.
    pub created_at: Timestamp,
    /// The time of the last refresh.
    pub last_used_at: Timestamp,
    /// The IP address of the last use.
    pub ip: String,
    /// The user agent of the last use.
    pub user_agent: String,
    /// Whether the request belongs to this session.
    pub current: bool,
}
