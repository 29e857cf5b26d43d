//! Sign-ins with other providers on their way, in `USERS_TABLE`: requests that have begun, and the grants that they end
//! with. Both work once.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `OAUTH#<sha256 of the state>` | `REQUEST` | provider, nonce, code_verifier, request_token (its hash), frontend, expires_at, ttl (10 min); used_at once the provider has sent the browser back |
//! | `GRANT#<sha256 of the grant>` | `GRANT` | request_token (its hash), identity (issuer, subject, address, name), tokens (encrypted, if they are kept), expires_at, ttl (10 min) |

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Error;
use super::dynamodb::DynamoDb;
use super::items::{self, Expression, Item, TransactWriteItem, text};
use crate::config::Environment;
use crate::domain::duration::minutes;
use crate::domain::email_token::TokenHash;
use crate::domain::encryption::Sealed;
use crate::domain::provider::{ExternalIdentity, ProviderName};
use crate::domain::timestamp::Timestamp;

/// The lifetime of a request and of a grant.
pub const LIFETIME: Duration = minutes(10);

/// The requests and grants in a table.
#[derive(Clone)]
pub struct OauthRequests {
    dynamodb: DynamoDb,
    table: String,
}

/// A sign-in with another provider that has begun.
#[derive(Clone, Serialize, Deserialize)]
pub struct OauthRequest {
    /// The provider.
    pub provider: ProviderName,
    /// The value that the ID token must repeat (OpenID Connect Core 1.0, 3.1.2.1).
    pub nonce: String,
    /// The secret of PKCE (RFC 7636).
    pub code_verifier: String,
    /// The hash of the value that the client keeps.
    pub request_token: TokenHash,
    /// The URL of the front end to which the browser returns.
    pub frontend: String,
    expires_at: Timestamp,
    ttl: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used_at: Option<Timestamp>,
}

/// What a provider has said, for the client that began.
#[derive(Clone, Serialize, Deserialize)]
pub struct OauthGrant {
    /// The hash of the value that the client keeps.
    pub request_token: TokenHash,
    /// The user as the provider knows them.
    pub identity: ExternalIdentity,
    /// The provider's tokens, if they are kept, encrypted with the value that the browser brings back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Sealed>,
    expires_at: Timestamp,
    ttl: i64,
}

impl OauthRequest {
    /// Creates a request that expires after [`LIFETIME`].
    pub fn new(
        provider: ProviderName,
        (nonce, code_verifier): (String, String),
        request_token: TokenHash,
        frontend: String,
        now: Timestamp,
    ) -> Self {
        let expires_at = now.plus(LIFETIME);
        Self {
            provider,
            nonce,
            code_verifier,
            request_token,
            frontend,
            expires_at,
            ttl: expires_at.seconds(),
            used_at: None,
        }
    }
}

impl OauthGrant {
    /// Creates a grant that expires after [`LIFETIME`].
    pub fn new(
        request_token: TokenHash,
        identity: ExternalIdentity,
        tokens: Option<Sealed>,
        now: Timestamp,
    ) -> Self {
        let expires_at = now.plus(LIFETIME);
        Self {
            request_token,
            identity,
            tokens,
            expires_at,
            ttl: expires_at.seconds(),
        }
    }
}

fn request_partition(state: &TokenHash) -> String {
    format!("OAUTH#{}", state.as_str())
}

fn request_key(state: &TokenHash) -> Item {
    items::key(request_partition(state), "REQUEST")
}

fn grant_partition(grant: &TokenHash) -> String {
    format!("GRANT#{}", grant.as_str())
}

fn grant_key(grant: &TokenHash) -> Item {
    items::key(grant_partition(grant), "GRANT")
}

impl OauthRequests {
    /// Reads the variable `USERS_TABLE` and those of DynamoDB.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            dynamodb: DynamoDb::from_env(environment),
            table: environment.text("USERS_TABLE"),
        }
    }

    /// Stores a request.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn begin(&self, state: &TokenHash, request: &OauthRequest) -> Result<(), Error> {
        let item = items::item(request_partition(state), "REQUEST", request);
        // The condition only fails if an earlier try, whose answer was lost, has written the item already.
        let condition = Expression::item_is_absent();
        self.dynamodb.put(&self.table, item, condition).await?;
        Ok(())
    }

    /// Finds a request that has not expired, and uses it up: of two calls with one state, one gets the request.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses or an item cannot be
    /// read.
    pub async fn take(
        &self,
        state: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<OauthRequest>, Error> {
        let key = request_key(state);
        let found: Option<OauthRequest> = self.dynamodb.get(&self.table, key, now).await?;
        let is_usable =
            |request: &OauthRequest| request.used_at.is_none() && now < request.expires_at;
        let Some(request) = found.filter(is_usable) else {
            return Ok(None);
        };
        let expression = Expression {
            update: "SET #used_at = :now".to_owned(),
            condition: "attribute_exists(pk) AND attribute_not_exists(#used_at)".to_owned(),
            values: vec![(":now", text(now.to_string()))],
        };
        let key = request_key(state);
        let is_first = self.dynamodb.update(&self.table, key, expression).await?;
        Ok(is_first.then_some(request))
    }

    /// Stores a grant.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn create_grant(&self, hash: &TokenHash, grant: &OauthGrant) -> Result<(), Error> {
        let item = items::item(grant_partition(hash), "GRANT", grant);
        let condition = Expression::item_is_absent();
        self.dynamodb.put(&self.table, item, condition).await?;
        Ok(())
    }

    /// Finds a grant that has not expired, if the client has kept the value of the request that led to it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses or an item cannot be
    /// read.
    pub async fn find_grant(
        &self,
        hash: &TokenHash,
        request_token: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<OauthGrant>, Error> {
        let key = grant_key(hash);
        let found: Option<OauthGrant> = self.dynamodb.get(&self.table, key, now).await?;
        // Both are hashes of 256 random bits: the time of the comparison reveals nothing that helps.
        Ok(found.filter(|grant| now < grant.expires_at && grant.request_token == *request_token))
    }

    /// Uses up a grant. Refused if another request has used it.
    pub fn use_grant(&self, hash: &TokenHash) -> TransactWriteItem {
        items::delete(&self.table, grant_key(hash), Expression::item_exists())
    }
}
