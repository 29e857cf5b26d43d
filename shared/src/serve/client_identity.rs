//! Determines the client's address from trusted sources.

use aws_lc_rs::constant_time;
use http::header::HeaderName;
use secrecy::{ExposeSecret, SecretString};

use crate::config::Environment;
use crate::domain::client_address::ClientAddress;
use crate::domain::rule::rule;
use crate::error::ApiError;
use crate::http::Request;

/// A secret that CloudFront adds to each request.
const ORIGIN_VERIFY: HeaderName = HeaderName::from_static("x-origin-verify");
/// The client's address and port, as CloudFront sees them.
const VIEWER_ADDRESS: HeaderName = HeaderName::from_static("cloudfront-viewer-address");
/// A secret that a trusted proxy adds, such as the server of a Next.js app.
const PROXY_SECRET: HeaderName = HeaderName::from_static("x-gatehouse-proxy-secret");
/// The address of the trusted proxy's client.
const CLIENT_ADDRESS: HeaderName = HeaderName::from_static("x-gatehouse-client-ip");

/// Determines the address of a request's client.
pub(super) struct ClientIdentity {
    /// CloudFront's secret, and the next one during a rotation; empty without CloudFront.
    origin_verify_secrets: Vec<SecretString>,
    /// The secrets of trusted proxies.
    proxy_secrets: Vec<SecretString>,
}

impl ClientIdentity {
    /// Reads `ORIGIN_VERIFY_SECRET`, `ORIGIN_VERIFY_SECRET_PREVIOUS` and `TRUSTED_PROXY_SECRET`.
    pub(super) fn from_env(environment: &mut Environment) -> Self {
        let secrets = [
            environment.optional_secret("ORIGIN_VERIFY_SECRET"),
            environment.optional_secret("ORIGIN_VERIFY_SECRET_PREVIOUS"),
        ];
        Self {
            origin_verify_secrets: secrets.into_iter().flatten().collect(),
            proxy_secrets: environment.secrets("TRUSTED_PROXY_SECRET"),
        }
    }

    /// Returns the address that a trusted proxy reports, or else the one that CloudFront or API Gateway sees. Headers
    /// such as `X-Forwarded-For` are under the client's control and ignored.
    ///
    /// # Errors
    /// `forbidden` for a request that bypasses CloudFront; `validation_failed` for an invalid address of a trusted
    /// proxy.
    pub(super) fn address(&self, request: &Request) -> Result<ClientAddress, ApiError> {
        let sender = self.sender(request)?;
        if !is_sent(&self.proxy_secrets, &PROXY_SECRET, request) {
            return Ok(sender);
        }
        let Some(client) = request.header(&CLIENT_ADDRESS) else {
            return Ok(sender); // a request of the proxy itself
        };
        // An error: otherwise all clients of the proxy would count as one, which would only be noticed when they are
        // refused.
        ClientAddress::parse(client).ok_or_else(|| {
            let rule = rule("invalid_address", "must be an IP address without a port");
            ApiError::invalid("X-Gatehouse-Client-IP", rule)
        })
    }

    /// Returns the address that sent the request to API Gateway, or to CloudFront.
    fn sender(&self, request: &Request) -> Result<ClientAddress, ApiError> {
        let peer = || {
            let peer = ClientAddress::parse(&request.client().ip);
            peer.ok_or_else(|| ApiError::Internal("an event without an address".into()))
        };
        if self.origin_verify_secrets.is_empty() {
            return peer();
        }
        if !is_sent(&self.origin_verify_secrets, &ORIGIN_VERIFY, request) {
            return Err(ApiError::Forbidden);
        }
        let viewer = request.header(&VIEWER_ADDRESS);
        match viewer.and_then(ClientAddress::parse_with_port) {
            Some(viewer) => Ok(viewer),
            None => peer(), // falls back to CloudFront's address, shared by all clients
        }
    }
}

/// Returns whether the header is one of these secrets; compares in constant time.
fn is_sent(secrets: &[SecretString], header: &HeaderName, request: &Request) -> bool {
    let given = request.header(header).unwrap_or_default();
    let is_given = |secret: &SecretString| {
        let secret = secret.expose_secret().as_bytes();
        constant_time::verify_slices_are_equal(secret, given.as_bytes()).is_ok()
    };
    secrets.iter().any(is_given)
}
