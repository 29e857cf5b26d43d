//! The audit log: who did what, when and from where. Written as a log event and as an item in `USERS_TABLE`, in a
//! partition apart from the user's record, so that a function with permission to add entries cannot change the user.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `AUDIT#<user id>` | `ENTRY#01J…` | event, outcome, ip, user_agent, request_id, ttl (90 days) |

use std::time::Duration;

use serde::Serialize;

use super::Error;
use super::decoy_writes;
use super::dynamodb::{DynamoDb, TransactionError, Write};
use super::items::{self, Expression, Item, TransactWriteItem};
use crate::config::Environment;
use crate::domain::client_info::ClientInfo;
use crate::domain::id::Id;
use crate::domain::user::UserId;
use crate::random;

/// The lifetime of an entry: 90 days.
const LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// The audit log in a table.
#[derive(Clone)]
pub struct Audit {
    dynamodb: DynamoDb,
    table: String,
}

/// An event of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Registration of an account.
    Register,
    /// An attempt to sign in.
    Login,
    /// An attempt to sign in with a passkey.
    PasskeyLogin,
    /// A request for a mailed code.
    CodeRequest,
    /// An attempt to sign in with a mailed code.
    CodeLogin,
    /// An attempt to sign in with another provider.
    OauthLogin,
    /// An identity of another provider was linked to the account.
    OauthLink,
    /// An identity of another provider was unlinked.
    OauthUnlink,
    /// A passkey was registered.
    PasskeyRegister,
    /// A passkey was removed.
    PasskeyRemove,
    /// A replaced refresh token was presented.
    RefreshTokenReuse,
    /// A refresh token replaced a moment ago was presented from another network or agent.
    RefreshTokenRepeated,
    /// The user ended the session, or all sessions.
    Logout,
    /// The user ended other sessions than the present one.
    SessionRevocation,
    /// Too many wrong passwords: the account is locked for a while.
    AccountLock,
    /// Too many failures in a row: a new password must be set by mail.
    ResetRequirement,
    /// A password was tried for a locked account. Only logged, without an item.
    LockedAttempt,
    /// A device for the second factor was set up, not confirmed yet.
    TwoFactorSetup,
    /// A device for the second factor was confirmed; the first one turns two-factor authentication on.
    TwoFactorVerify,
    /// A device was removed; removing the last one turns two-factor authentication off.
    TwoFactorDisable,
    /// The mailed link removed the second factor and ended all sessions.
    TwoFactorUndo,
    /// New backup codes were generated; the old ones are revoked.
    BackupCodesRegeneration,
    /// A backup code was used.
    BackupCodeUse,
    /// Username, name or picture were changed.
    ProfileUpdate,
    /// An attempt to delete the account.
    AccountDelete,
    /// An attempt to change the password.
    PasswordChange,
    /// A request for a link to set a new password.
    PasswordResetRequest,
    /// A new password was set by such a link.
    PasswordReset,
    /// A request for another link to prove the address.
    EmailVerificationRequest,
    /// The address was proven.
    EmailVerification,
    /// The owner of the address rejected the account.
    EmailRejection,
}

impl Event {
    /// Returns whether the event is an attempt to sign in.
    pub fn is_sign_in(self) -> bool {
        matches!(
            self,
            Self::Login | Self::PasskeyLogin | Self::CodeLogin | Self::OauthLogin
        )
    }

    fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Login => "login",
            Self::PasskeyLogin => "passkey_login",
            Self::CodeRequest => "code_request",
            Self::CodeLogin => "code_login",
            Self::OauthLogin => "oauth_login",
            Self::OauthLink => "oauth_link",
            Self::OauthUnlink => "oauth_unlink",
            Self::PasskeyRegister => "passkey_register",
            Self::PasskeyRemove => "passkey_remove",
            Self::RefreshTokenReuse => "refresh_token_reuse",
            Self::RefreshTokenRepeated => "refresh_token_repeated",
            Self::Logout => "logout",
            Self::SessionRevocation => "session_revocation",
            Self::AccountLock => "account_lock",
            Self::ResetRequirement => "reset_requirement",
            Self::LockedAttempt => "locked_attempt",
            Self::TwoFactorSetup => "two_factor_setup",
            Self::TwoFactorVerify => "two_factor_verify",
            Self::TwoFactorDisable => "two_factor_disable",
            Self::TwoFactorUndo => "two_factor_undo",
            Self::BackupCodesRegeneration => "backup_codes_regeneration",
            Self::BackupCodeUse => "backup_code_use",
            Self::ProfileUpdate => "profile_update",
            Self::AccountDelete => "account_delete",
            Self::PasswordChange => "password_change",
            Self::PasswordResetRequest => "password_reset_request",
            Self::PasswordReset => "password_reset",
            Self::EmailVerificationRequest => "email_verification_request",
            Self::EmailVerification => "email_verification",
            Self::EmailRejection => "email_rejection",
        }
    }
}

/// The outcome of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The action was carried out.
    Success,
    /// The action was refused.
    Failure,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

#[derive(Serialize)]
struct Entry<'a> {
    event: &'a str,
    outcome: &'a str,
    ip: &'a str,
    user_agent: &'a str,
    request_id: &'a str,
    ttl: i64,
}

impl Audit {
    /// Reads the variable `USERS_TABLE` and those of DynamoDB.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            dynamodb: DynamoDb::from_env(environment),
            table: environment.text("USERS_TABLE"),
        }
    }

    /// Creates an entry as part of the transaction it describes.
    pub fn create(
        &self,
        user_id: UserId,
        event: Event,
        outcome: Outcome,
        client: &ClientInfo,
    ) -> TransactWriteItem {
        items::put(
            &self.table,
            entry(user_id, event, outcome, client),
            Expression::item_is_absent(),
        )
    }

    /// Commits the writes of successful events together with an entry for each event, all or nothing, and then logs the
    /// events. `refused` is the meaning of an entry that exists already.
    ///
    /// # Errors
    /// [`TransactionError::Refused`] with the meaning of the first condition that did not hold,
    /// [`TransactionError::Store`] if the store fails.
    pub async fn commit<C: Copy>(
        &self,
        user_id: UserId,
        events: &[Event],
        client: &ClientInfo,
        mut writes: Vec<Write<C>>,
        refused: C,
    ) -> Result<(), TransactionError<C>> {
        let success = Outcome::Success;
        let entries = events.iter();
        let entries = entries.map(|event| self.create(user_id, *event, success, client));
        writes.extend(Write::all(entries, refused));
        self.dynamodb.transact(writes).await?;
        for event in events {
            log(Some(user_id), *event, success, client);
        }
        Ok(())
    }

    /// Writes an entry and logs the event.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses: an action that cannot
    /// be recorded must not succeed silently.
    pub async fn record(
        &self,
        user_id: UserId,
        event: Event,
        outcome: Outcome,
        client: &ClientInfo,
    ) -> Result<(), Error> {
        log(Some(user_id), event, outcome, client);
        // The condition only fails if an earlier try, whose answer was lost, has written the entry already.
        self.dynamodb
            .put(
                &self.table,
                entry(user_id, event, outcome, client),
                Expression::item_is_absent(),
            )
            .await?;
        Ok(())
    }

    /// Makes a decoy write in place of an update that only an existing account gets.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn decoy_update(&self, client: &ClientInfo) -> Result<(), Error> {
        let (key, expression) = decoy_writes::update(client.received_at);
        self.dynamodb.update(&self.table, key, expression).await?;
        Ok(())
    }

    /// Logs an event without a known user, and makes a decoy write in place of the entry, so that an unknown account
    /// takes the same time as a known one (ASVS 5.0, 6.3.8).
    ///
    /// # Errors
    /// [`Error::Unavailable`] if DynamoDB does not answer, [`Error::Unexpected`] if it refuses.
    pub async fn record_unknown(
        &self,
        event: Event,
        outcome: Outcome,
        client: &ClientInfo,
    ) -> Result<(), Error> {
        log(None, event, outcome, client);
        self.dynamodb
            .put(
                &self.table,
                decoy_writes::item(client.received_at),
                Expression::item_is_absent(),
            )
            .await?;
        Ok(())
    }
}

/// Logs an event whose entry is part of a transaction, after that has succeeded.
pub fn log(user_id: Option<UserId>, event: Event, outcome: Outcome, client: &ClientInfo) {
    tracing::info!(
        audit = event.name(),
        outcome = outcome.name(),
        user_id = user_id.map(tracing::field::display),
        ip = client.ip,
        user_agent = client.user_agent,
        "audit"
    );
}

fn entry(user_id: UserId, event: Event, outcome: Outcome, client: &ClientInfo) -> Item {
    let entry = Entry {
        event: event.name(),
        outcome: outcome.name(),
        ip: &client.ip,
        user_agent: &client.user_agent,
        request_id: &client.request_id,
        ttl: client.received_at.plus(LIFETIME).seconds(),
    };
    let id = Id::<Audit>::new(client.received_at, random::bytes());
    items::item(format!("AUDIT#{user_id}"), &format!("ENTRY#{id}"), &entry)
}
