//! The answer to a sign-in without a password.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Tokens, User};
use crate::domain;
use crate::domain::timestamp::Timestamp;

/// The user and the tokens of a new session.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignedIn {
    /// The user.
    pub user: User,
    /// The tokens.
    #[serde(flatten)]
    pub tokens: Tokens,
}

impl SignedIn {
    /// Returns the answer to a user who signs in now.
    pub fn new(user: &domain::user::User, tokens: Tokens, now: Timestamp) -> Self {
        let user = User::signed_in(user, now);
        Self { user, tokens }
    }
}
