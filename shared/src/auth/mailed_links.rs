//! Requests for a mailed link. Every address gets the same answer after the same work and time: without an account,
//! decoy reads and writes are made.

use std::time::Duration;

use super::email_tokens::EmailTokens;
use crate::config::Environment;
use crate::domain::client_info::ClientInfo;
use crate::domain::email_address::EmailAddress;
use crate::domain::email_token::{Purpose, TokenHash, TokenId};
use crate::domain::id::Id;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::User;
use crate::error::ApiError;
use crate::random;
use crate::store::Error;
use crate::store::audit::{self, Audit, Event, Outcome};
use crate::store::decoy_writes::DecoyWrites;
use crate::store::dynamodb::{DynamoDb, TransactionError, Write};
use crate::store::items::TransactWriteItem;
use crate::store::outbox::Outbox;
use crate::store::rate_limiter::{TextHash, TextHasher};
use crate::store::users::Users;
use crate::timing;

/// The unit of the answer time: it covers the time differences that depend on whether an item exists and on its size.
const ANSWER_TIME: Duration = Duration::from_millis(100);

/// The account has changed since its record was read.
#[derive(Clone, Copy)]
struct Refused;

/// Sends links to the owners of addresses.
pub struct MailedLinks {
    /// The users' records.
    pub users: Users,
    /// The outbox.
    pub outbox: Outbox,
    dynamodb: DynamoDb,
    audit: Audit,
    decoys: DecoyWrites,
    hasher: TextHasher,
    tokens: EmailTokens,
}

impl MailedLinks {
    /// Reads `EMAIL_TOKEN_SECRET`, `USERS_TABLE` and the variables of DynamoDB.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            users: Users::from_env(environment),
            outbox: Outbox::from_env(environment),
            audit: Audit::from_env(environment),
            decoys: DecoyWrites::from_env(environment),
            dynamodb: DynamoDb::from_env(environment),
            hasher: TextHasher::new(&environment.secret("EMAIL_TOKEN_SECRET")),
            tokens: EmailTokens::from_env(environment),
        }
    }

    /// Returns the hash under which requests for links to this address are counted.
    pub fn hash(&self, email: &EmailAddress) -> TextHash {
        self.hasher.email(email)
    }

    /// Does the work and hides how long it took.
    pub async fn in_equal_time<T>(&self, work: impl Future<Output = T>) -> T {
        timing::in_multiples_of(ANSWER_TIME, work).await
    }

    /// Finds the user with this address; makes the same reads if there is none.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses or an item cannot be
    /// read.
    pub async fn find(&self, email: &EmailAddress, now: Timestamp) -> Result<Option<User>, Error> {
        let claimed = self.users.find_id_by_email(email, now).await?;
        let id = claimed.unwrap_or_else(|| Id::new(now, random::bytes()));
        self.users.find(id, now).await
    }

    /// Creates a token.
    pub fn mint(&self, purpose: Purpose) -> (TokenId, TokenHash) {
        self.tokens.mint(purpose)
    }

    /// Writes the items of a link, its mail included, together with the audit log entry: all or nothing. Without an
    /// account, makes as many decoy writes.
    ///
    /// # Errors
    /// `service_unavailable` or `internal_error` if the store fails. An account that has changed meanwhile is not an
    /// error, as the client must not learn of it.
    pub async fn write<const N: usize>(
        &self,
        user: Option<&User>,
        event: Event,
        client: &ClientInfo,
        writes: impl FnOnce(&User) -> [TransactWriteItem; N],
    ) -> Result<(), ApiError> {
        let (now, success) = (client.received_at, Outcome::Success);
        let items: Vec<TransactWriteItem> = match user {
            Some(user) => {
                let entry = self.audit.create(user.id, event, success, client);
                writes(user).into_iter().chain([entry]).collect()
            }
            None => (0..=N).map(|_| self.decoys.create(now)).collect(),
        };
        let writes = Write::all(items, Refused);
        let outcome = match self.dynamodb.transact(writes).await {
            Ok(()) => success,
            Err(TransactionError::Refused(Refused)) => Outcome::Failure,
            // Only existing items can be in conflict, and the client must not learn whether the address has an account.
            Err(TransactionError::Store(Error::Conflict)) => Outcome::Failure,
            Err(TransactionError::Store(error)) => return Err(error.into()),
        };
        audit::log(user.map(|user| user.id), event, outcome, client);
        Ok(())
    }
}
