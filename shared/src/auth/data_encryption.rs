//! The key of data that must be read again: secrets of second factors, and tokens of other providers.

use crate::config::Environment;
use crate::domain::encryption::Cipher;

/// Reads `DATA_ENCRYPTION_KEY` and `DATA_ENCRYPTION_KEY_PREVIOUS`.
pub(super) fn cipher(environment: &mut Environment) -> Cipher {
    let secret = environment.secret("DATA_ENCRYPTION_KEY");
    let previous = environment.optional_secret("DATA_ENCRYPTION_KEY_PREVIOUS");
    Cipher::new(&secret, previous.as_ref())
}
