//! Common configuration of the AWS clients: region, credentials, endpoints, one HTTP client.

use std::sync::LazyLock;
use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sesv2::config::retry::RetryConfig;
use aws_sdk_sesv2::config::timeout::TimeoutConfig;
use aws_sdk_sesv2::config::{
    SharedCredentialsProvider, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

use crate::config::Environment;

/// The variables with the endpoint of temporary credentials: set with SnapStart, and in containers.
const CONTAINER_ENDPOINTS: [&str; 2] = [
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
];

/// Returns the configuration of the service whose endpoint is `AWS_ENDPOINT_URL_<service>`. Reads nothing from the disk
/// or the network; credentials are fetched with the first request, and again before they expire.
pub(crate) fn config(environment: &mut Environment, service: &str) -> SdkConfig {
    let region = environment.name("AWS_REGION");
    let container = CONTAINER_ENDPOINTS
        .into_iter()
        .find_map(|name| environment.optional_text(name));
    if container.is_none() {
        environment.text("AWS_ACCESS_KEY_ID");
        environment.text("AWS_SECRET_ACCESS_KEY");
    }
    let endpoint = [&format!("AWS_ENDPOINT_URL_{service}"), "AWS_ENDPOINT_URL"]
        .into_iter()
        .find_map(|name| environment.optional_url(name));
    let use_fips = environment.boolean("AWS_USE_FIPS_ENDPOINT", false);
    let use_dual_stack = environment.boolean("AWS_USE_DUALSTACK_ENDPOINT", false);
    if endpoint.is_some() && (use_fips || use_dual_stack) {
        // The SDK would refuse every request.
        let problem = "an endpoint of AWS_ENDPOINT_URL is neither a FIPS nor a dual-stack one";
        environment.refuse(problem);
    }
    let http_client = http_client(endpoint.as_deref());
    let credentials = CredentialsProviderChain::first_try(
        "Environment",
        EnvironmentVariableCredentialsProvider::new(),
    )
    .or_else("Container", container_credentials(container.as_deref()));
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(region))
        // Meant for long bodies: requests and answers here are short, and the time-outs are shorter.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .use_fips(use_fips)
        .use_dual_stack(use_dual_stack)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(http_client);
    config.set_endpoint_url(endpoint);
    config.build()
}

/// Creates an SES client without retries: the stream that triggers the mail retries by itself.
pub fn ses(environment: &mut Environment, timeout: Duration) -> aws_sdk_sesv2::Client {
    let timeout = TimeoutConfig::builder().operation_timeout(timeout);
    let config = aws_sdk_sesv2::config::Builder::from(&config(environment, "SESV2"))
        .timeout_config(timeout.build())
        .retry_config(RetryConfig::disabled());
    aws_sdk_sesv2::Client::from_conf(config.build())
}

fn container_credentials(endpoint: Option<&str>) -> EcsCredentialsProvider {
    // A relative URI refers to an address with plain HTTP.
    let is_tls = endpoint.is_some_and(|endpoint| endpoint.starts_with("https:"));
    let client = if is_tls { &HTTPS } else { &HTTP };
    let config = ProviderConfig::without_region().with_http_client(LazyLock::force(client).clone());
    EcsCredentialsProvider::builder().configure(&config).build()
}

/// Returns the HTTP client shared by all services. Loading the certificates takes longer than the rest of the start, so
/// they are not loaded for an `http:` endpoint.
fn http_client(endpoint: Option<&str>) -> SharedHttpClient {
    match endpoint {
        Some(endpoint) if endpoint.starts_with("http:") => HTTP.clone(),
        _ => HTTPS.clone(),
    }
}

/// The maximum number of idle connections. A freeze kills them all, and each dead one costs an attempt.
const MAX_IDLE: usize = 2;

static HTTP: LazyLock<SharedHttpClient> =
    LazyLock::new(|| Builder::new().pool_max_idle_per_host(MAX_IDLE).build_http());

/// Uses Mozilla's certificate authorities from the binary: loading them takes a third of the time of reading the
/// system's from the disk.
#[expect(clippy::expect_used, reason = "the trust store is a constant")]
static HTTPS: LazyLock<SharedHttpClient> = LazyLock::new(|| {
    let mut trust_store = TrustStore::empty();
    for certificate in TLS_SERVER_ROOT_CERTS {
        let base64 = STANDARD.encode(certificate);
        trust_store.add_pem_certificate(format!(
            "-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n"
        ));
    }
    let context = TlsContext::builder().with_trust_store(trust_store).build();
    Builder::new()
        .pool_max_idle_per_host(MAX_IDLE)
        .tls_provider(Provider::rustls(CryptoMode::AwsLc))
        .tls_context(context.expect("certificates"))
        .build_https()
});
