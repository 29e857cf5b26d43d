//! `GET` and `DELETE /api/auth/sessions`. The answer to `DELETE` is a message alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::domain::device_token::DeviceId;
use crate::domain::session::SessionId;
use crate::domain::timestamp::Timestamp;

/// The body of an ending: it may be left out, and nothing is in it.
#[derive(Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[validate(nest_all_fields)]
pub struct EndSessionsRequest {}

/// The caller's sessions.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionsAnswer {
    /// By creation.
    pub sessions: Vec<Session>,
    /// The devices whose tokens are good, by creation.
    pub devices: Vec<Device>,
}

/// A device that its owner has signed in from. The identifier authenticates nothing.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Names it.
    pub id: DeviceId,
    /// When its owner first signed in there.
    pub created_at: Timestamp,
    /// When its owner last signed in there.
    pub last_used_at: Timestamp,
    /// The address of that sign-in.
    pub ip: String,
    /// The agent of that sign-in.
    pub user_agent: String,
}

/// A session as its owner sees it. The identifier authenticates nothing.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Names it.
    pub id: SessionId,
    /// When its owner signed in.
    pub created_at: Timestamp,
    /// When it was last refreshed.
    pub last_used_at: Timestamp,
    /// The address of the sign-in.
    pub ip: String,
    /// The agent of the sign-in.
    pub user_agent: String,
    /// Whether the request belongs to it.
    pub current: bool,
}
