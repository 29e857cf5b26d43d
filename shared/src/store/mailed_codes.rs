//! Mailed codes, in Redis, by the value that the client keeps: for ten minutes and five tries. The code itself is
//! derived from the mail's identifier and stored nowhere.
//!
//! | key | type | content |
//! |---|---|---|
//! | `mailed_code:<sha256 of the request token>` | string | JSON: purpose, email, user_id, token_id, tries |

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use super::Error;
use super::redis::{Redis, Script};
use crate::config::Environment;
use crate::domain::email_address::EmailAddress;
use crate::domain::email_token::{TokenHash, TokenId};
use crate::domain::mailed_code::CodePurpose;
use crate::domain::user::UserId;

/// The lifetime of a code: 10 min (NIST SP 800-63B-4, 3.1.3.2).
pub const LIFETIME_SECONDS: u64 = 10 * 60;
/// The most tries at a code.
const MAX_TRIES: u32 = 5;

/// The mailed codes of all addresses.
pub struct MailedCodes {
    redis: Arc<Redis>,
    count_try: LazyLock<Script>,
}

/// A code that was mailed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MailedCodeEntry {
    /// What the code is for.
    pub purpose: CodePurpose,
    /// The address that it was mailed to.
    pub email: EmailAddress,
    /// The account that had the address when the code was asked for; `None` for a sign-up.
    pub user_id: Option<UserId>,
    /// The mail's identifier.
    pub token_id: TokenId,
    /// The number of tries.
    pub tries: u32,
}

fn key(hash: &TokenHash) -> String {
    format!("mailed_code:{}", hash.as_str())
}

impl MailedCodes {
    /// Reads the variables of Redis.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            redis: Redis::from_env(environment),
            count_try: LazyLock::new(|| Script::new(include_str!("scripts/try_mailed_code.lua"))),
        }
    }

    /// Stores a code under the hash of its request token. Without a code, runs a command of the same cost that stores
    /// nothing (`XX`: only if the key exists), so that both cases take the same time.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn create(
        &self,
        hash: &TokenHash,
        entry: Option<&MailedCodeEntry>,
    ) -> Result<(), Error> {
        let mut command = redis::cmd("SET");
        command.arg(key(hash));
        match entry.map(serde_json::to_string) {
            Some(entry) => {
                command.arg(entry.map_err(|error| Error::Unexpected(error.to_string()))?)
            }
            None => command.arg("nobody").arg("XX"),
        };
        command.arg("EX").arg(LIFETIME_SECONDS);
        self.redis.run::<Option<String>>(&command).await?;
        Ok(())
    }

    /// Counts a try, and returns the code; `None` if it is unknown, used, expired, or was tried five times. The count
    /// comes before the comparison, so that parallel tries are no more.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses, or if the entry cannot be
    /// read.
    pub async fn try_code(&self, hash: &TokenHash) -> Result<Option<MailedCodeEntry>, Error> {
        let mut call = self.count_try.call();
        call.key(key(hash)).arg(MAX_TRIES);
        let entry: Option<String> = self.redis.invoke(&call).await?;
        let entry = entry.map(|entry| serde_json::from_str(&entry));
        entry
            .transpose()
            .map_err(|error| Error::Unexpected(error.to_string()))
    }

    /// Removes a code; returns `false` if another request has removed it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn remove(&self, hash: &TokenHash) -> Result<bool, Error> {
        let removed: u32 = self.redis.run(redis::cmd("DEL").arg(key(hash))).await?;
        Ok(removed == 1)
    }
}
