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

/// The key of the claim on an address.
pub(in crate::store) fn email_key(email: &EmailAddress) -> Item {
    items::key(format!("EMAIL#{}", email.canonical()), "CLAIM")
}

fn username_key(username: &Username) -> Item {
    items::key(format!("USERNAME#{}", username.canonical()), "CLAIM")
}

impl Users {
    /// Who has claimed this address.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn find_id_by_email(
        &self,
        email: &EmailAddress,
        now: Timestamp,
    ) -> Result<Option<UserId>, Error> {
        self.find_claim(email_key(email), now).await
    }

    /// Who has claimed this username.
    ///
    /// # Errors
    /// Those of the store.
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

    /// The user's claim on the address, as long as the record lasts. Refused while somebody else holds it: of
    /// two registrations in a race, one wins.
    pub fn claim_email(&self, user: &User, now: Timestamp) -> TransactWriteItem {
        self.claim(email_key(&user.email), user, now)
    }

    /// The user's claim on a username. Refused while somebody else holds it.
    pub fn claim_username(
        &self,
        username: &Username,
        user: &User,
        now: Timestamp,
    ) -> TransactWriteItem {
        self.claim(username_key(username), user, now)
    }

    /// TTL sweeps late: a claim whose time has passed is free although it is still there.
    fn claim(&self, key: Item, user: &User, now: Timestamp) -> TransactWriteItem {
        let mut item = key;
        item.insert("user_id".to_owned(), text(user.id.to_string()));
        if let Some(expiry) = user.ttl {
            item.insert("ttl".to_owned(), number(expiry));
        }
        let condition = "attribute_not_exists(pk) OR #ttl <= :now".to_owned();
        items::put(
            &self.table,
            item,
            Expression {
                condition,
                values: vec![(":now", ttl(now))],
                ..Default::default()
            },
        )
    }

    /// Gives a username back.
    pub fn release_username(&self, username: &Username, id: UserId) -> TransactWriteItem {
        items::delete(&self.table, username_key(username), held_by(id))
    }

    /// Gives an address back.
    pub fn release_email(&self, email: &EmailAddress, id: UserId) -> TransactWriteItem {
        items::delete(&self.table, email_key(email), held_by(id))
    }

    /// The claim on the address of an account whose address is proven lasts as it does.
    pub fn keep_email(&self, user: &User) -> TransactWriteItem {
        self.keep(email_key(&user.email), user.id)
    }

    /// The same of the username.
    pub fn keep_username(&self, username: &Username, id: UserId) -> TransactWriteItem {
        self.keep(username_key(username), id)
    }

    fn keep(&self, key: Item, id: UserId) -> TransactWriteItem {
        let mut expression = held_by(id);
        expression.update = "REMOVE #ttl".to_owned();
        items::update(&self.table, key, expression)
    }

    /// Lets a deleted account's address go when the account is purged, not before: until then nobody
    /// takes it over.
    pub fn expire_email(
        &self,
        email: &EmailAddress,
        id: UserId,
        purge_at: Timestamp,
    ) -> TransactWriteItem {
        self.expire(email_key(email), id, purge_at)
    }

    /// The same for the username.
    pub fn expire_username(
        &self,
        username: &Username,
        id: UserId,
        purge_at: Timestamp,
    ) -> TransactWriteItem {
        self.expire(username_key(username), id, purge_at)
    }

    fn expire(&self, key: Item, id: UserId, purge_at: Timestamp) -> TransactWriteItem {
        let mut expression = held_by(id);
        expression.update = "SET #ttl = :ttl".to_owned();
        expression.values.push((":ttl", ttl(purge_at)));
        items::update(&self.table, key, expression)
    }
}

fn held_by(id: UserId) -> Expression {
    Expression {
        condition: "#user_id = :id".to_owned(),
        values: vec![(":id", text(id.to_string()))],
        ..Default::default()
    }
}
