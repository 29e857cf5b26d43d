//! The proof of a password, and a new hash for one of an older kind.

use shared::auth::sign_in::{Proof, Refused};
use shared::auth::two_factor::VerifiedCode;
use shared::domain::client_info::ClientInfo;
use shared::domain::password_hash::{PasswordHash, Verification};
use shared::domain::session::AuthenticationMethods;
use shared::domain::user::UserId;
use shared::error::ApiError;
use shared::http::Request;
use shared::store::audit::Event;
use shared::store::dynamodb::Write;
use shared::{random, telemetry};

use crate::account::Account;
use crate::app::App;
use crate::request::Login;

/// Returns the proof of a password: the hash that it was compared with, or the hash that may have replaced it, is still
/// stored, and the code, if there is one, is still unused.
pub fn proof(
    app: &App,
    user_id: UserId,
    hashes: &[PasswordHash; 2],
    code: Option<&VerifiedCode>,
    client: &ClientInfo,
) -> Proof {
    let code_use = code.map(|code| {
        let item = code.write(&app.two_factor.store, client);
        Write::new(item, Refused::CodeUsed)
    });
    let password = app.credentials.check_password(user_id, hashes);
    let password = Write::new(password, Refused::ProofChanged);
    Proof {
        event: Event::Login,
        methods: match code {
            Some(_) => AuthenticationMethods::PASSWORD_AND_CODE,
            None => AuthenticationMethods::PASSWORD,
        },
        writes: code_use.into_iter().chain([password]).collect(),
        is_used_up: code.is_some(),
        has_backup_code: code.is_some_and(VerifiedCode::is_backup_code),
        used: None,
        refusal: || ApiError::InvalidCredentials,
    }
}

/// Replaces a hash of an older kind or cost, while the password is known. A failure does not keep the user out: the
/// next login tries again. Returns the hashes that may be stored now.
pub async fn rehash(
    app: &App,
    id: UserId,
    login: &Login,
    account: &Account,
    request: &Request,
) -> Result<[PasswordHash; 2], ApiError> {
    let (old, password) = (&account.hash, &login.password);
    let new = telemetry::hashing(|| app.hasher.hash(password, random::bytes()));
    match app.credentials.rehash(id, old, &new).await {
        Ok(true) => Ok([new.clone(), new]),
        Err(error) => {
            tracing::error!(cause = %error, "an outdated password hash was kept");
            Ok([old.clone(), new])
        }
        // Another login has replaced the hash, or the password has changed.
        Ok(false) => {
            let now = request.received_at();
            let stored = app.credentials.find_password(id, now).await?;
            let stored = stored.ok_or(ApiError::InvalidCredentials)?;
            match telemetry::hashing(|| app.hasher.verify(password, &stored))? {
                Verification::Mismatch => Err(ApiError::InvalidCredentials),
                _ => Ok([stored.clone(), stored]),
            }
        }
    }
}
