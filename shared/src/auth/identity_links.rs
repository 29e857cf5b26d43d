//! Links of identities of other providers to accounts.

use super::retry::{Refusal, write_current};
use crate::config::Environment;
use crate::domain::client_info::ClientInfo;
use crate::domain::encryption::Sealed;
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

/// What belongs to a link.
#[derive(Clone, Copy)]
pub struct NewLink<'a> {
    /// Whether the account was just created with the identity, so that its owner needs no mail about the link.
    pub is_of_new_account: bool,
    /// The write that uses up the grant, if nothing else does.
    pub grant: Option<&'a TransactWriteItem>,
    /// The provider's tokens, if they are kept.
    pub tokens: Option<&'a Sealed>,
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

    /// Links an identity. The owner of an account that is not new gets a mail. Returns the user with the identity.
    ///
    /// # Errors
    /// `identity_taken`, `provider_already_linked`, `oauth_grant_invalid` if the grant was used meanwhile, the errors of
    /// `reread`, and `service_unavailable` or `internal_error` if the store fails.
    pub async fn link<R>(
        &self,
        user: User,
        identity: &ExternalIdentity,
        new: NewLink<'_>,
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
        let write = |user| self.write(user, identity, linked, new, client);
        let id = user.id;
        let written = write_current(user, write, reread).await;
        if let Err(ApiError::IdentityTaken) = written {
            // Another request of the same user, in a second tab for instance.
            let (id_of_identity, now) = (linked.id(), client.received_at);
            let found = self.identities.find(&id_of_identity, now);
            if found.await?.is_some_and(|link| link.user_id == id) {
                let cause = "another request has linked the identity";
                return Err(ApiError::ServiceUnavailable(cause.into()));
            }
        }
        let mut user = written?;
        let provider = identity.provider.clone();
        user.identities.insert(provider, linked.clone());
        Ok(user)
    }

    async fn write(
        &self,
        mut user: User,
        identity: &ExternalIdentity,
        linked: &LinkedIdentity,
        new: NewLink<'_>,
        client: &ClientInfo,
    ) -> Result<(), TransactionError<Refused>> {
        let (now, provider) = (client.received_at, &identity.provider);
        user.identities.insert(provider.clone(), linked.clone());
        let link = Link {
            user_id: user.id,
            provider: provider.clone(),
            created_at: now,
            tokens: new.tokens.cloned(),
        };
        let mut writes = vec![
            Write::new(
                self.identities.create(&linked.id(), &link, now),
                Refused::Taken,
            ),
            Write::new(self.users.update_identities(&user, now), Refused::Stale),
        ];
        writes.extend(
            new.grant
                .map(|grant| Write::new(grant.clone(), Refused::Used)),
        );
        if !new.is_of_new_account {
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
