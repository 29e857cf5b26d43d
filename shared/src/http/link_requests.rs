//! Requests for a mailed link. Every address gets the same answer after the same work and time: where
//! there is nobody to write to, stand-ins are read and written.

use std::time::Duration;

use secrecy::SecretString;

use super::Request;
use super::guard::{Endpoint, Guard};
use crate::config::Environment;
use crate::domain::email_address::EmailAddress;
use crate::domain::email_token::{self, Purpose, TokenHash, TokenId};
use crate::domain::id::Id;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::User;
use crate::error::ApiError;
use crate::store::Error;
use crate::store::audit::{self, Audit, Event, Outcome};
use crate::store::dynamodb::{DynamoDb, TransactWriteItem, TransactionError, Write, is_conflict};
use crate::store::outbox::Outbox;
use crate::store::rate_limiter::TextHasher;
use crate::store::stand_ins::StandIns;
use crate::store::users::Users;
use crate::{clock, random};

/// What differs by the size of an item that is there or not ends within this time, or within a multiple of it.
const ANSWER_TIME: Duration = Duration::from_millis(100);

/// The account has changed since its record was read.
#[derive(Clone, Copy)]
struct Refused;

/// What an endpoint needs that sends links.
pub struct LinkRequests {
    /// Lets requests pass, and limits those about one address.
    pub guard: Guard,
    /// The users' records.
    pub users: Users,
    /// The mails.
    pub outbox: Outbox,
    dynamodb: DynamoDb,
    audit: Audit,
    stand_ins: StandIns,
    hasher: TextHasher,
    email_token_secret: SecretString,
}

impl LinkRequests {
    /// From the environment variables.
    pub fn from_env(environment: &mut Environment, endpoint: Endpoint) -> Self {
        let dynamodb = environment.dynamodb();
        let table = environment.text("USERS_TABLE");
        let email_token_secret = environment.secret("EMAIL_TOKEN_SECRET");
        Self {
            guard: Guard::for_guests(environment, endpoint),
            users: Users::new(dynamodb.clone(), table.clone()),
            outbox: Outbox::new(table.clone()),
            audit: Audit::new(dynamodb.clone(), table.clone()),
            stand_ins: StandIns::new(table),
            dynamodb,
            hasher: TextHasher::new(&email_token_secret),
            email_token_secret,
        }
    }

    /// Counts a request for a link to this address.
    ///
    /// # Errors
    /// `rate_limited`, and those of the store.
    pub async fn count(&self, email: &EmailAddress, request: &Request) -> Result<(), ApiError> {
        let address = self.hasher.email(email);
        self.guard.count_about(request, address).await
    }

    /// Does the work, and lets nobody know how long it took.
    pub async fn in_answer_time<T>(&self, work: impl Future<Output = T>) -> T {
        clock::in_multiples_of(ANSWER_TIME, work).await
    }

    /// Who has the address; the same reads where nobody has it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn find(&self, email: &EmailAddress, now: Timestamp) -> Result<Option<User>, Error> {
        let claimed = self.users.find_id_by_email(email, now).await?;
        let id = claimed.unwrap_or_else(|| Id::new(now, random::bytes()));
        self.users.find(id, now).await
    }

    /// A new token.
    pub fn mint(&self, purpose: Purpose) -> (TokenId, TokenHash) {
        email_token::mint(&self.email_token_secret, purpose, random::bytes())
    }

    /// Writes what a link takes, its mail included, with the entry of the trail: all or nothing. As many
    /// stand-ins where there is nobody.
    ///
    /// # Errors
    /// Those of the store. An account that has changed meanwhile is none: nobody is to know.
    pub async fn write<const N: usize>(
        &self,
        user: Option<&User>,
        event: Event,
        request: &Request,
        writes: impl FnOnce(&User) -> [TransactWriteItem; N],
    ) -> Result<(), ApiError> {
        let (now, origin, success) = (request.received_at(), request.origin(), Outcome::Success);
        let items: Vec<TransactWriteItem> = match user {
            Some(user) => {
                let entry = self.audit.create(user.id, event, success, origin);
                writes(user).into_iter().chain([entry]).collect()
            }
            None => (0..=N).map(|_| self.stand_ins.create(now)).collect(),
        };
        let writes = Write::all(items, Refused);
        let outcome = match self.dynamodb.transact(writes).await {
            Ok(()) => success,
            Err(TransactionError::Refused(Refused)) => Outcome::Failure,
            // Only what is there can be in conflict: who asks about an address is not to know.
            Err(TransactionError::Store(error)) if is_conflict(&error) => Outcome::Failure,
            Err(TransactionError::Store(error)) => return Err(error.into()),
        };
        audit::log(user.map(|user| user.id), event, outcome, origin);
        Ok(())
    }
}
