//! The authentication of services that ask about a token, and the token that they ask about.

use http::header::AUTHORIZATION;
use secrecy::SecretString;

use crate::config::Environment;
use crate::domain::service_client::ServiceClients;
use crate::error::ApiError;
use crate::http::Request;

impl ServiceClients {
    /// Reads `SERVICE_CLIENTS`.
    pub fn from_env(environment: &mut Environment) -> Self {
        let form = "a list of <id>:<SHA-256 of the secret in base64url>, as infra/service-client prints them";
        let clients = environment.optional("SERVICE_CLIENTS", form, Self::parse);
        clients.unwrap_or_default()
    }

    /// Returns the form's parameter `token` (RFC 7662, 2.1; RFC 7009, 2.1) of a request by a known service.
    ///
    /// # Errors
    /// `invalid_client` for anybody else, `invalid_request` without exactly one token, `payload_too_large`.
    pub fn token(&self, request: &Request) -> Result<SecretString, ApiError> {
        let header = request.header(&AUTHORIZATION);
        match header.is_some_and(|header| self.authenticate(header)) {
            true => request.form_parameter("token"),
            false => Err(ApiError::InvalidClient),
        }
    }
}
