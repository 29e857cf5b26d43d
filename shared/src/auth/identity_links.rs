//! Links of identities of other providers to accounts.

use super::retry::{Refusal, write_current};
use crate::config::Environment;
use crate::domain::client_info::ClientInfo;
use crate::domain::provider::ExternalIdentity;
use crate::domain::user::{LinkedIdentity, User};
use crate::error::ApiError;
use crate::store::audit::{Audit, Event};
use crate::store::dynamodb::{TransactionError, Write};
use crate::store::identities::{Identities, Link};
use crate::store::items::TransactWriteItem;
use crate::store::outbox::{Kind, Links, Outbox};
use crate::store::users::Users;

/// Links identities.
pub struct IdentityLinks {
    /// The links.
    pub identities: Identities,
    users: Users,
    outbox: Outbox,
    audit: Audit,
}

/// Why an identity was not linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Another account has it.
    Taken,
    /// Another request has used the grant.
    Used,
    /// The record has changed since it was read.
    Stale,
}

impl Refusal for Refused {
    fn is_stale(&self) -> bool {
        *self == Self::Stale
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Taken => Self::IdentityTaken,
            Refused::Used => Self::OauthGrantInvalid,
            Refused::Stale => Self::ServiceUnavailable("the record kept changing".into()),
        }
    }
}

impl IdentityLinks {
    /// Reads `USERS_TABLE`, `CREDENTIALS_TABLE` and the variables of DynamoDB.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            identities: Identities::from_env(environment),
            users: Users::from_env(environment),
            outbox: Outbox::from_env(environment),
            audit: Audit::from_env(environment),
        }
    }

    /// Checks that the account has no other identity of the provider. An address that the provider has given to somebody
    /// else must not let them in.
    ///
    /// # Errors
    /// `provider_already_linked`.
    pub fn check(user: &User, identity: &ExternalIdentity) -> Result<(), ApiError> {
        match user.identities.contains_key(&identity.provider) {
            true => Err(ApiError::ProviderAlreadyLinked),
            false => Ok(()),
        }
    }

    /// Links an identity, with the write that uses up its grant, if there is one. The owner of an account that is not new
    /// gets a mail. Returns the user with the identity.
    ///
    /// # Errors
    /// `identity_taken`, `provider_already_linked`, `oauth_grant_invalid` if the grant was used meanwhile, the errors of
    /// `reread`, and `service_unavailable` or `internal_error` if the store fails.
    pub async fn link<R>(
        &self,
        user: User,
        identity: &ExternalIdentity,
        (is_new, grant): (bool, Option<&TransactWriteItem>),
        reread: impl Fn() -> R,
        client: &ClientInfo,
    ) -> Result<User, ApiError>
    where
        R: Future<Output = Result<User, ApiError>>,
    {
        Self::check(&user, identity)?;
        let linked = &LinkedIdentity {
            issuer: identity.issuer.clone(),
            subject: identity.subject.clone(),
            email: identity.email.clone(),
            linked_at: client.received_at,
            last_used_at: None,
        };
        let reread = || async {
            let user = reread().await?;
            Self::check(&user, identity)?;
            Ok(user)
        };
        let write = |user| self.write(user, identity, linked, (is_new, grant), client);
        let mut user = write_current(user, write, reread).await?;
        let provider = identity.provider.clone();
        user.identities.insert(provider, linked.clone());
        Ok(user)
    }

    async fn write(
        &self,
        mut user: User,
        identity: &ExternalIdentity,
        linked: &LinkedIdentity,
        (is_new, grant): (bool, Option<&TransactWriteItem>),
        client: &ClientInfo,
    ) -> Result<(), TransactionError<Refused>> {
        let (now, provider) = (client.received_at, &identity.provider);
        user.identities.insert(provider.clone(), linked.clone());
        let link = Link {
            user_id: user.id,
            provider: provider.clone(),
            created_at: now,
        };
        let mut writes = vec![
            Write::new(self.identities.create(linked, &link, now), Refused::Taken),
            Write::new(self.users.update_identities(&user, now), Refused::Stale),
        ];
        writes.extend(grant.map(|grant| Write::new(grant.clone(), Refused::Used)));
        if !is_new {
            let (kind, links) = (Kind::IdentityLinked, Links::none());
            let mail = self.outbox.create(kind, &user, &links, client);
            writes.push(Write::new(mail, Refused::Stale));
        }
        let events = [Event::OauthLink];
        self.audit
            .commit(user.id, &events, client, writes, Refused::Stale)
            .await
    }
}
