//! Tokens that allow to set a new password, in Redis, by their hash: whose each is, for an hour. Which
//! one of a user's is valid, the user's record says; there it is also used up, in the transaction that
//! writes the new password, so that a failure between the two costs nobody the token.
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

/// From issue to expiry: 1 h.
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

    /// Keeps a token. Where there is no user, a command of the same cost that keeps nothing (`XX`: only
    /// if the key exists), so that both take the same time.
    ///
    /// # Errors
    /// Those of the store.
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

    /// Whose token this is, while it has not expired.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn find_user(&self, hash: &TokenHash) -> Result<Option<UserId>, Error> {
        let id: Option<String> = self.redis.run(redis::cmd("GET").arg(key(hash))).await?;
        Ok(id.and_then(|id| id.parse().ok()))
    }

    /// Forgets a token that was used.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn remove(&self, hash: &TokenHash) -> Result<(), Error> {
        self.redis.run(redis::cmd("DEL").arg(key(hash))).await
    }
}
