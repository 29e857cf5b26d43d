//! The tokens of other providers, which are kept only if the configuration asks for it, and encrypted.

use super::data_encryption;
use crate::config::Environment;
use crate::domain::encryption::{Cipher, Sealed};
use crate::domain::grant_token::GrantToken;
use crate::domain::provider::{IdentityId, ProviderTokens};
use crate::domain::user::UserId;
use crate::error::ApiError;
use crate::random;
use crate::store::oauth_requests::OauthGrant;

/// Encrypts and decrypts the tokens of providers.
pub struct ProviderTokenCipher(Cipher);

/// Returns whose tokens they are: of one identity of one user.
fn owner(id: &IdentityId, user_id: UserId) -> String {
    format!("provider tokens|{}|{}|{user_id}", id.issuer, id.subject)
}

impl ProviderTokenCipher {
    /// Reads `DATA_ENCRYPTION_KEY` and `DATA_ENCRYPTION_KEY_PREVIOUS`.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self(data_encryption::cipher(environment))
    }

    /// Returns the tokens that a grant holds, encrypted for a user; `None` if it holds none.
    ///
    /// # Errors
    /// `internal_error` if the grant cannot be decrypted.
    pub fn of_grant(
        &self,
        token: &GrantToken,
        grant: &OauthGrant,
        user_id: UserId,
    ) -> Result<Option<Sealed>, ApiError> {
        let Some(sealed) = &grant.tokens else {
            return Ok(None);
        };
        let opened = token.open(sealed).map_err(|_| undecryptable())?;
        let owner = owner(&grant.identity.id(), user_id);
        Ok(Some(self.0.seal(
            &opened.plaintext,
            &owner,
            random::bytes(),
        )))
    }

    /// Decrypts the tokens of a user's identity.
    ///
    /// # Errors
    /// `internal_error` if they cannot be decrypted.
    pub fn open(
        &self,
        sealed: &Sealed,
        id: &IdentityId,
        user_id: UserId,
    ) -> Result<ProviderTokens, ApiError> {
        let opened = self.0.open(sealed, &owner(id, user_id));
        let opened = opened.map_err(|_| undecryptable())?;
        serde_json::from_slice(&opened.plaintext).map_err(|error| ApiError::Internal(error.into()))
    }
}

fn undecryptable() -> ApiError {
    ApiError::Internal("the tokens of a provider cannot be decrypted".into())
}
