//! Failures in a row: after a hundred wrong passwords and codes without a success, a new password must be set by mail.

use super::email_tokens::EmailTokens;
use crate::config::Environment;
use crate::domain::client_info::ClientInfo;
use crate::domain::email_token::Purpose;
use crate::domain::user::User;
use crate::error::ApiError;
use crate::store::audit::{Audit, Event};
use crate::store::dynamodb::Write;
use crate::store::outbox::{Kind, Links, Outbox};
use crate::store::reset_tokens::ResetTokens;
use crate::store::users::Users;

/// Failures in a row, wrong passwords and codes together, after which a new password must be set by mail.
const MAX_FAILURES: u32 = 100;

/// Counts failures in a row.
pub struct Failures {
    users: Users,
    audit: Audit,
    outbox: Outbox,
    reset_tokens: ResetTokens,
    email_tokens: EmailTokens,
}

/// Another request has deleted or disabled the account.
#[derive(Clone, Copy)]
struct NotActive;

impl From<NotActive> for ApiError {
    fn from(_: NotActive) -> Self {
        Self::InvalidCredentials
    }
}

impl Failures {
    /// Reads `EMAIL_TOKEN_SECRET`, `USERS_TABLE` and the variables of both stores.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            users: Users::from_env(environment),
            audit: Audit::from_env(environment),
            outbox: Outbox::from_env(environment),
            reset_tokens: ResetTokens::from_env(environment),
            email_tokens: EmailTokens::from_env(environment),
        }
    }

    /// Counts a wrong password or code. After a hundred in a row without a success, however slow, a new password must
    /// be set by mail (NIST SP 800-63B-4, 3.2.2).
    ///
    /// # Errors
    /// `service_unavailable` or `internal_error` if a store fails.
    pub async fn count(&self, user: &User, client: &ClientInfo) -> Result<(), ApiError> {
        let failures = self.users.count_failure(user.id).await?;
        let is_last = failures.is_some_and(|failures| failures >= MAX_FAILURES);
        if !is_last || user.password_reset_required || !user.is_active() {
            return Ok(());
        }
        let (token_id, token) = self.email_tokens.mint(Purpose::ResetPassword);
        self.reset_tokens.create(&token, Some(user.id)).await?;
        let (kind, links) = (Kind::ResetRequired, Links::button(token_id));
        let writes = [
            self.users.require_reset(user.id, &token),
            self.outbox.create(kind, user, &links, client),
        ];
        let (events, writes) = ([Event::ResetRequirement], Write::all(writes, NotActive));
        let committed = self
            .audit
            .commit(user.id, &events, client, writes, NotActive);
        Ok(committed.await?)
    }
}
