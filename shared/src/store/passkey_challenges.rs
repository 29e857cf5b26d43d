//! The challenges of passkeys, in Redis: each works once, for five minutes.
//!
//! | key | type | content |
//! |---|---|---|
//! | `passkey_challenge:<sha256 of the challenge>` | string | JSON of the ceremony: registration (with its user and session) or sign-in |

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Error;
use super::redis::Redis;
use crate::config::Environment;

/// The lifetime of a challenge: 5 min, the recommended timeout of a ceremony (WebAuthn Level 3, 15.1).
const LIFETIME_SECONDS: u64 = 5 * 60;

/// The challenges of all clients.
pub struct PasskeyChallenges {
    redis: Arc<Redis>,
}

fn key(challenge: &[u8]) -> String {
    let hash = hex::encode(digest(&SHA256, challenge));
    format!("passkey_challenge:{hash}")
}

impl PasskeyChallenges {
    /// Reads the variables of Redis.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            redis: Redis::from_env(environment),
        }
    }

    /// Stores a ceremony under its challenge.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn create(&self, challenge: &[u8], ceremony: &impl Serialize) -> Result<(), Error> {
        let ceremony = serde_json::to_string(ceremony);
        let ceremony = ceremony.map_err(|error| Error::Unexpected(error.to_string()))?;
        let mut command = redis::cmd("SET");
        command.arg(key(challenge)).arg(ceremony);
        command.arg("EX").arg(LIFETIME_SECONDS);
        self.redis.run(&command).await
    }

    /// Takes the ceremony of a challenge, which is used up thereby: of two requests with one challenge, one gets it.
    /// `None` for a challenge that is unknown, used, expired, or of another kind of ceremony.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn take<T: DeserializeOwned>(&self, challenge: &[u8]) -> Result<Option<T>, Error> {
        let command = redis::cmd("GETDEL").arg(key(challenge)).clone();
        let ceremony: Option<String> = self.redis.run(&command).await?;
        Ok(ceremony.and_then(|ceremony| serde_json::from_str(&ceremony).ok()))
    }
}
