//! Providers that speak OpenID Connect.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreClientAuthMethod, CoreErrorResponseType, CoreGenderClaim,
    CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm,
    CoreProviderMetadata, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AuthType, AuthorizationCode, ClaimsVerificationError, Client, ClientId,
    ClientSecret, DiscoveryError, EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, IdTokenFields, IssuerUrl, JsonWebKeySet, Nonce, OAuth2TokenResponse,
    PkceCodeVerifier, RedirectUrl, RequestTokenError, StandardErrorResponse, StandardTokenResponse,
    SubjectIdentifier, TokenResponse, UserInfoClaims,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::auth::oauth_providers::{OauthProvider, ProviderKind};
use shared::domain::duration::days;
use shared::domain::email_address::EmailAddress;
use shared::domain::person_name::PersonName;
use shared::domain::provider::{ExternalIdentity, ProviderTokens};
use shared::domain::rule::Parse;
use shared::domain::timestamp::Timestamp;
use shared::store::oauth_requests::OauthRequest;
use tokio::sync::Mutex;

use crate::failure::Failure;
use crate::http_client::{HttpClient, NoAnswer};

/// How long metadata and keys of a provider are kept.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// The domains whose addresses Google gives out itself.
const GMAIL: [&str; 2] = ["gmail.com", "googlemail.com"];
/// What Microsoft's metadata say in place of a tenant if users of several may sign in.
const TENANT: &str = "{tenantid}";

/// The metadata and keys of providers, kept for a while.
#[derive(Default)]
pub struct OpenId(Mutex<BTreeMap<String, Kept>>);

#[derive(Clone)]
struct Kept {
    metadata: CoreProviderMetadata,
    fetched_at: Instant,
}

/// Claims of Microsoft's and Google's own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct MoreClaims {
    /// The tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tid: Option<String>,
    /// Whether the tenant owns the domain of the address: an optional claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    xms_edov: Option<Value>,
    /// Google's: the domain of the organisation that manages the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hd: Option<String>,
}

impl AdditionalClaims for MoreClaims {}

type Fields = IdTokenFields<
    MoreClaims,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;
type Answer = StandardTokenResponse<Fields, CoreTokenType>;
type OpenIdClient = Client<
    MoreClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Answer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// The user, as a provider's claims describe them.
struct Claims {
    subject: String,
    issuer: String,
    email: Option<String>,
    email_verified: Option<bool>,
    name: Option<String>,
    more: MoreClaims,
}

impl OpenId {
    /// Exchanges a code for the user's identity (OpenID Connect Core 1.0, 3.1.3). The ID token must be signed by the
    /// issuer, for this client, and repeat the nonce.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn identify(
        &self,
        http: &HttpClient,
        (provider, secret): (&OauthProvider, ClientSecret),
        ((code, begun, callback), now): ((&str, &OauthRequest, &str), Timestamp),
    ) -> Result<(ExternalIdentity, ProviderTokens), Failure> {
        let mut metadata = self.metadata(http, provider, KEPT).await?;
        let client = client(provider, &metadata, &secret, callback)?;
        let exchange = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|_| Failure::Provider("the provider has no token endpoint"))?
            .set_pkce_verifier(PkceCodeVerifier::new(begun.code_verifier.clone()));
        let answer = exchange.request_async(http).await.map_err(refused)?;
        let nonce = Nonce::new(begun.nonce.clone());
        let mut verified = verify(&client, provider, &answer, &nonce);
        if let Err(Unverified::Key) = verified {
            // The provider may have changed its keys. Nobody else causes this: the token came from the provider itself.
            metadata = self.metadata(http, provider, Duration::ZERO).await?;
            let client = self::client(provider, &metadata, &secret, callback)?;
            verified = verify(&client, provider, &answer, &nonce);
        }
        let mut claims = verified.map_err(Failure::from)?;
        check_issuer(provider, &metadata, &claims)?;
        if claims.email.is_none() && client.user_info_url().is_some() {
            let subject = SubjectIdentifier::new(claims.subject.clone());
            let request = client
                .user_info(answer.access_token().to_owned(), Some(subject))
                .map_err(|_| Failure::Provider("the provider has no userinfo endpoint"))?;
            let info: UserInfoClaims<MoreClaims, CoreGenderClaim> = request
                .request_async(http)
                .await
                .map_err(|error| match error {
                    openidconnect::UserInfoError::Request(error) => error.into(),
                    _ => Failure::Provider("its answer about the user is not valid"),
                })?;
            claims.email = info.email().map(|email| email.as_str().to_owned());
            claims.email_verified = info.email_verified();
            let name = info.name().and_then(|name| name.get(None));
            claims.name = claims.name.or(name.map(|name| name.as_str().to_owned()));
        }
        Ok((claims.identity(provider)?, tokens(&answer, now)))
    }

    /// Returns the metadata and keys, no older than this.
    async fn metadata(
        &self,
        http: &HttpClient,
        provider: &OauthProvider,
        max_age: Duration,
    ) -> Result<CoreProviderMetadata, Failure> {
        let mut kept = self.0.lock().await;
        let name = provider.name.as_str();
        let found = kept
            .get(name)
            .filter(|kept| kept.fetched_at.elapsed() < max_age);
        if let Some(found) = found {
            return Ok(found.metadata.clone());
        }
        let metadata = fetch(http, provider).await?;
        let new = Kept {
            metadata: metadata.clone(),
            fetched_at: Instant::now(),
        };
        kept.insert(name.to_owned(), new);
        Ok(metadata)
    }
}

/// Returns the tokens for the provider's API.
fn tokens(answer: &Answer, now: Timestamp) -> ProviderTokens {
    let refresh_token = answer.refresh_token();
    let scopes = answer.scopes();
    let scopes = scopes.map(|scopes| scopes.iter().map(|scope| scope.as_str()));
    ProviderTokens {
        access_token: answer.access_token().secret().clone(),
        refresh_token: refresh_token.map(|token| token.secret().clone()),
        expires_at: answer
            .expires_in()
            .map(|lifetime| now.plus(lifetime.min(days(3650)))),
        scope: scopes.map(|scopes| scopes.collect::<Vec<_>>().join(" ")),
    }
}

/// Fetches the metadata (OpenID Connect Discovery 1.0, 4) and the keys.
async fn fetch(
    http: &HttpClient,
    provider: &OauthProvider,
) -> Result<CoreProviderMetadata, Failure> {
    let invalid = Failure::Provider("its metadata are not valid");
    if provider.kind != ProviderKind::Microsoft {
        let issuer = IssuerUrl::new(provider.issuer.clone());
        let issuer = issuer.map_err(|_| Failure::Provider("the issuer is no URL"))?;
        let found = CoreProviderMetadata::discover_async(issuer, http).await;
        return found.map_err(undiscovered);
    }
    // Microsoft's issuer is not the configured one if that names several tenants.
    let url = format!("{}/.well-known/openid-configuration", provider.issuer);
    let request = http::Request::get(url).body(Vec::new());
    let answer = http.send(request.map_err(|_| Failure::Provider("the issuer is no URL"))?);
    let answer = answer.await?;
    let metadata = serde_json::from_slice::<CoreProviderMetadata>(answer.body());
    let metadata = metadata.map_err(|_| invalid)?;
    let keys = JsonWebKeySet::fetch_async(metadata.jwks_uri(), http).await;
    Ok(metadata.set_jwks(keys.map_err(undiscovered)?))
}

fn client(
    provider: &OauthProvider,
    metadata: &CoreProviderMetadata,
    secret: &ClientSecret,
    callback: &str,
) -> Result<OpenIdClient, Failure> {
    let callback = RedirectUrl::new(callback.to_owned());
    let callback = callback.map_err(|_| Failure::Provider("the callback is no URL"))?;
    let methods = metadata.token_endpoint_auth_methods_supported();
    // Without a list, it is Basic (OpenID Connect Discovery 1.0, 3).
    let basic = CoreClientAuthMethod::ClientSecretBasic;
    let auth_type = match methods.is_none_or(|methods| methods.contains(&basic)) {
        true => AuthType::BasicAuth,
        false => AuthType::RequestBody,
    };
    let client_id = ClientId::new(provider.client_id.clone());
    let client = Client::from_provider_metadata(metadata.clone(), client_id, Some(secret.clone()));
    Ok(client.set_redirect_uri(callback).set_auth_type(auth_type))
}

/// Why an ID token was not accepted.
enum Unverified {
    /// No key has made its signature.
    Key,
    /// Something else is wrong.
    Invalid(&'static str),
}

impl From<Unverified> for Failure {
    fn from(unverified: Unverified) -> Self {
        match unverified {
            Unverified::Key => Self::Provider("no key of the provider has signed the ID token"),
            Unverified::Invalid(cause) => Self::Provider(cause),
        }
    }
}

fn verify(
    client: &OpenIdClient,
    provider: &OauthProvider,
    answer: &Answer,
    nonce: &Nonce,
) -> Result<Claims, Unverified> {
    let token = answer.id_token();
    let token = token.ok_or(Unverified::Invalid("there is no ID token"))?;
    // Microsoft's issuer depends on the tenant: [`check_issuer`] compares it.
    let is_fixed = provider.kind != ProviderKind::Microsoft;
    let verifier = client.id_token_verifier().require_issuer_match(is_fixed);
    let claims = token
        .claims(&verifier, nonce)
        .map_err(|error| match error {
            ClaimsVerificationError::SignatureVerification(_) => Unverified::Key,
            ClaimsVerificationError::Expired(_) => Unverified::Invalid("the ID token has expired"),
            ClaimsVerificationError::InvalidNonce(_) => Unverified::Invalid("the nonce is another"),
            ClaimsVerificationError::InvalidIssuer(_) => {
                Unverified::Invalid("the issuer is another")
            }
            ClaimsVerificationError::InvalidAudience(_) => {
                Unverified::Invalid("the ID token is for another client")
            }
            _ => Unverified::Invalid("the ID token is not valid"),
        })?;
    let name = claims.name().and_then(|name| name.get(None));
    Ok(Claims {
        subject: claims.subject().as_str().to_owned(),
        issuer: claims.issuer().as_str().to_owned(),
        email: claims.email().map(|email| email.as_str().to_owned()),
        email_verified: claims.email_verified(),
        name: name.map(|name| name.as_str().to_owned()),
        more: claims.additional_claims().clone(),
    })
}

/// Checks the issuer of Microsoft, which names the tenant.
fn check_issuer(
    provider: &OauthProvider,
    metadata: &CoreProviderMetadata,
    claims: &Claims,
) -> Result<(), Failure> {
    if provider.kind != ProviderKind::Microsoft {
        return Ok(());
    }
    let tenant = claims.more.tid.as_deref().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let expected = metadata.issuer().as_str().replace(TENANT, tenant);
    match tenant.bytes().all(is_plain) && claims.issuer == expected {
        true => Ok(()),
        false => Err(Failure::Provider("the issuer is another")),
    }
}

impl Claims {
    fn identity(self, provider: &OauthProvider) -> Result<ExternalIdentity, Failure> {
        if !ExternalIdentity::is_valid_subject(&self.subject) {
            return Err(Failure::Provider("the subject is empty or too long"));
        }
        let email = self.email.as_deref();
        let email = email.and_then(|email| EmailAddress::parse(email).ok());
        let domain = email.as_ref().map(EmailAddress::domain);
        let is_gmail = domain.is_some_and(|domain| GMAIL.contains(&domain.as_str()));
        let email_verified = match provider.kind {
            // Microsoft's tenants choose the addresses of their users freely.
            ProviderKind::Microsoft => is_true(self.more.xms_edov.as_ref()),
            // Of other addresses, Google has seen once that they were the user's, and they may be somebody else's now
            // (Google, "Verify the Google ID token on your server side").
            ProviderKind::Google => {
                self.email_verified == Some(true) && (self.more.hd.is_some() || is_gmail)
            }
            _ => self.email_verified == Some(true),
        };
        Ok(ExternalIdentity {
            provider: provider.name.clone(),
            issuer: self.issuer,
            subject: self.subject,
            email,
            email_verified,
            name: self.name.and_then(|name| PersonName::parse(&name).ok()),
        })
    }
}

/// Microsoft sends this claim as a boolean, a number or a text.
fn is_true(claim: Option<&Value>) -> bool {
    match claim {
        Some(Value::Bool(is_true)) => *is_true,
        Some(Value::Number(number)) => number.as_u64() == Some(1),
        Some(Value::String(text)) => text == "1" || text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

impl From<NoAnswer> for Failure {
    fn from(error: NoAnswer) -> Self {
        match error {
            NoAnswer::Unavailable => Self::Unavailable("the provider does not answer"),
            NoAnswer::Unexpected => Self::Provider("its answer is not what was asked for"),
        }
    }
}

fn undiscovered(error: DiscoveryError<NoAnswer>) -> Failure {
    match error {
        DiscoveryError::Request(error) => error.into(),
        _ => Failure::Provider("its metadata or keys are not valid"),
    }
}

/// Returns the failure of an exchange of a code.
fn refused<T: openidconnect::ErrorResponse>(error: RequestTokenError<NoAnswer, T>) -> Failure {
    match error {
        RequestTokenError::Request(error) => error.into(),
        RequestTokenError::ServerResponse(_) => Failure::Provider("it does not take the code"),
        _ => Failure::Provider("its answer to the code is not valid"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microsofts_claim_is_true_in_each_of_its_forms() {
        for (claim, expected) in [
            (serde_json::json!(true), true),
            (serde_json::json!(1), true),
            (serde_json::json!("1"), true),
            (serde_json::json!("True"), true),
            (serde_json::json!(false), false),
            (serde_json::json!(0), false),
            (serde_json::json!("no"), false),
            (serde_json::json!([true]), false),
        ] {
            assert_eq!(is_true(Some(&claim)), expected, "{claim}");
        }
        assert!(!is_true(None));
    }
}
