//! Password reset tokens, in Redis: the hash of each token with its user, for an hour. The user's record says which of
//! a user's tokens is valid. The token is used up in the record as well, in the transaction that writes the new
//! password, so that a failure between the two cannot cost the user the token.
//!
//! | key | type | content |
//! |---|---|---|
//! | `password_reset:<sha256 of the token>` | string | user id |

use std::sync::Arc;

use super::Error;
use super::redis::Redis;
use crate::config::Environment;
use crate::domain::email_token::TokenHash;
use crate::domain::user::UserId;

/// The lifetime of a token: 1 h.
const LIFETIME_SECONDS: u64 = 60 * 60;

/// The reset tokens of all users.
pub struct ResetTokens {
    redis: Arc<Redis>,
}

fn key(hash: &TokenHash) -> String {
    format!("password_reset:{}", hash.as_str())
}

impl ResetTokens {
    /// Reads the variables of Redis.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            redis: Redis::from_env(environment),
        }
    }

    /// Stores a token. Without a user, runs a command of the same cost that stores nothing (`XX`: only if the key
    /// exists), so that both cases take the same time.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn create(&self, hash: &TokenHash, user_id: Option<UserId>) -> Result<(), Error> {
        let mut command = redis::cmd("SET");
        command.arg(key(hash));
        match user_id {
            Some(id) => command.arg(id.to_string()),
            None => command.arg("nobody").arg("XX"),
        };
        command.arg("EX").arg(LIFETIME_SECONDS);
        self.redis.run::<Option<String>>(&command).await?;
        Ok(())
    }

    /// Finds the user of a token that has not expired.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn find_user(&self, hash: &TokenHash) -> Result<Option<UserId>, Error> {
        let id: Option<String> = self.redis.run(redis::cmd("GET").arg(key(hash))).await?;
        Ok(id.and_then(|id| id.parse().ok()))
    }

    /// Deletes a used token.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn remove(&self, hash: &TokenHash) -> Result<(), Error> {
        self.redis.run(redis::cmd("DEL").arg(key(hash))).await
    }
}
