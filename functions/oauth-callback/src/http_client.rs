//! The HTTP client for providers.

use std::pin::Pin;
use std::time::Duration;

use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::redirect::Policy;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

/// How long one request to a provider may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The maximum length of an answer, in bytes: key sets and metadata are a few kilobytes.
const MAX_ANSWER: usize = 256 * 1024;

/// The client.
pub struct HttpClient(reqwest::Client);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// The provider does not answer, or not in time.
    #[error("no answer")]
    Unavailable,
    /// The answer is no answer to a request for data: it is too long, or leads elsewhere.
    #[error("an unexpected answer")]
    Unexpected,
}

impl HttpClient {
    /// Creates a client that follows no redirects: no answer of a provider sends it elsewhere (RFC 9700, 4.12).
    ///
    /// # Errors
    /// The library's, if it cannot use the certificates.
    pub fn new(is_https_only: bool) -> Result<Self, reqwest::Error> {
        let roots = TLS_SERVER_ROOT_CERTS.iter();
        let roots: Result<Vec<_>, _> = roots
            .map(|certificate| reqwest::Certificate::from_der(certificate))
            .collect();
        let client = reqwest::Client::builder()
            .tls_certs_only(roots?)
            .https_only(is_https_only)
            .redirect(Policy::none())
            .no_proxy()
            .timeout(TIMEOUT)
            // Lambda may freeze the function between requests, and a frozen connection is dead.
            .pool_max_idle_per_host(0)
            .user_agent("Gatehouse");
        Ok(Self(client.build()?))
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn send(&self, request: HttpRequest) -> Result<HttpResponse, NoAnswer> {
        let request = request.try_into().map_err(|_| NoAnswer::Unexpected)?;
        let sent = self.0.execute(request).await;
        let mut answer = sent.map_err(|_| NoAnswer::Unavailable)?;
        if answer.status().is_server_error() {
            return Err(NoAnswer::Unavailable);
        }
        if answer.status().is_redirection() {
            return Err(NoAnswer::Unexpected);
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|_| NoAnswer::Unavailable)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                return Err(NoAnswer::Unexpected);
            }
        }
        let mut response = HttpResponse::new(body);
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        Ok(response)
    }
}

impl<'c> AsyncHttpClient<'c> for HttpClient {
    type Error = NoAnswer;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, NoAnswer>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}
