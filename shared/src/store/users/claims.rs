//! The claims that make addresses and usernames unique.

use serde::{Deserialize, Serialize};

use super::Users;
use crate::domain::email_address::EmailAddress;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{User, UserId};
use crate::domain::username::Username;
use crate::store::Error;
use crate::store::items::{self, Expression, Item, TransactWriteItem, number, text, ttl};

#[derive(Serialize, Deserialize)]
struct Claim {
    user_id: UserId,
}

/// Returns the key of the claim on an address.
pub(in crate::store) fn email_key(email: &EmailAddress) -> Item {
    items::key(format!("EMAIL#{}", email.canonical()), "CLAIM")
}

fn username_key(username: &Username) -> Item {
    items::key(format!("USERNAME#{}", username.canonical()), "CLAIM")
}

impl Users {
    /// Finds the user who claims this address.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses or an item cannot be
    /// read.
    pub async fn find_id_by_email(
        &self,
        email: &EmailAddress,
        now: Timestamp,
    ) -> Result<Option<UserId>, Error> {
        self.find_claim(email_key(email), now).await
    }

    /// Finds the record of the user who claims this address.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses or an item cannot be
    /// read.
    pub async fn find_by_email(
        &self,
        email: &EmailAddress,
        now: Timestamp,
    ) -> Result<Option<User>, Error> {
        match self.find_id_by_email(email, now).await? {
            Some(id) => self.find(id, now).await,
            None => Ok(None),
        }
    }

    /// Finds the user who claims this username.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses or an item cannot be
    /// read.
    pub async fn find_id_by_username(
        &self,
        username: &Username,
        now: Timestamp,
    ) -> Result<Option<UserId>, Error> {
        self.find_claim(username_key(username), now).await
    }

    async fn find_claim(&self, key: Item, now: Timestamp) -> Result<Option<UserId>, Error> {
        let claim: Option<Claim> = self.dynamodb.get(&self.table, key, now).await?;
        Ok(claim.map(|claim| claim.user_id))
    }

    /// Claims the address for the user, for as long as the record lasts. Refused while another user holds the claim: of
    /// two concurrent registrations, one succeeds.
    pub fn claim_email(&self, user: &User, now: Timestamp) -> TransactWriteItem {
        self.claim(email_key(&user.email), user, now)
    }

    /// Claims a username for the user. Refused while another user holds the claim.
    pub fn claim_username(
        &self,
        username: &Username,
        user: &User,
        now: Timestamp,
    ) -> TransactWriteItem {
        self.claim(username_key(username), user, now)
    }

    /// Puts a claim, unless another one is there.
    fn claim(&self, key: Item, user: &User, now: Timestamp) -> TransactWriteItem {
        let mut item = key;
        item.insert("user_id".to_owned(), text(user.id.to_string()));
        if let Some(expiry) = user.ttl {
            item.insert("ttl".to_owned(), number(expiry));
        }
        items::put(&self.table, item, Expression::item_is_free(now))
    }

    /// Releases the claim on a username.
    pub fn release_username(&self, username: &Username, id: UserId) -> TransactWriteItem {
        items::delete(&self.table, username_key(username), Expression::held_by(id))
    }

    /// Releases the claim on an address.
    pub fn release_email(&self, email: &EmailAddress, id: UserId) -> TransactWriteItem {
        items::delete(&self.table, email_key(email), Expression::held_by(id))
    }

    /// Removes the expiry of the claim on a proven address, so that it lasts as long as the account.
    pub fn keep_email(&self, user: &User) -> TransactWriteItem {
        self.keep(email_key(&user.email), user.id)
    }

    /// Removes the expiry of the claim on a username in the same way.
    pub fn keep_username(&self, username: &Username, id: UserId) -> TransactWriteItem {
        self.keep(username_key(username), id)
    }

    fn keep(&self, key: Item, id: UserId) -> TransactWriteItem {
        let mut expression = Expression::held_by(id);
        expression.update = "REMOVE #ttl".to_owned();
        items::update(&self.table, key, expression)
    }

    /// Lets the claim on a deleted account's address expire with the account, not before: until then nobody can take
    /// the address over.
    pub fn expire_email(
        &self,
        email: &EmailAddress,
        id: UserId,
        purge_at: Timestamp,
    ) -> TransactWriteItem {
        self.expire(email_key(email), id, purge_at)
    }

    /// Lets the claim on a deleted account's username expire in the same way.
    pub fn expire_username(
        &self,
        username: &Username,
        id: UserId,
        purge_at: Timestamp,
    ) -> TransactWriteItem {
        self.expire(username_key(username), id, purge_at)
    }

    fn expire(&self, key: Item, id: UserId, purge_at: Timestamp) -> TransactWriteItem {
        let mut expression = Expression::held_by(id);
        expression.update = "SET #ttl = :ttl".to_owned();
        expression.values.push((":ttl", ttl(purge_at)));
        items::update(&self.table, key, expression)
    }
}
