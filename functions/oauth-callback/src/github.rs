//! GitHub, which has OAuth 2.0 and an API, and no ID tokens.

use http::header::{ACCEPT, AUTHORIZATION};
use openidconnect::{ClientSecret, HttpResponse};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use shared::auth::oauth_providers::OauthProvider;
use shared::domain::email_address::EmailAddress;
use shared::domain::person_name::PersonName;
use shared::domain::provider::{ExternalIdentity, ProviderTokens};
use shared::domain::rule::Parse;
use shared::store::oauth_requests::OauthRequest;
use url::form_urlencoded::Serializer;

use crate::failure::Failure;
use crate::http_client::HttpClient;

/// The answer to a code. A refusal has the status 200 as well, and no token.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<String>,
    scope: Option<String>,
}

#[derive(Deserialize)]
struct GithubUser {
    id: u64,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Address {
    email: String,
    primary: bool,
    verified: bool,
}

/// Exchanges a code for the user's identity.
///
/// # Errors
/// [`Failure`].
pub async fn identify(
    http: &HttpClient,
    (provider, secret): (&OauthProvider, ClientSecret),
    (code, begun, callback): (&str, &OauthRequest, &str),
) -> Result<(ExternalIdentity, ProviderTokens), Failure> {
    let form = Serializer::new(String::new())
        .append_pair("client_id", &provider.client_id)
        .append_pair("client_secret", secret.secret())
        .append_pair("code", code)
        .append_pair("redirect_uri", callback)
        .append_pair("code_verifier", &begun.code_verifier)
        .finish();
    let url = format!(
        "{}/login/oauth/access_token",
        provider.issuer.trim_end_matches('/')
    );
    let request = http::Request::post(url)
        .header(ACCEPT, "application/json")
        .header(
            http::header::CONTENT_TYPE,
            "application/x-www-form-urlencoded",
        )
        .body(form.into_bytes());
    let request = request.map_err(|_| Failure::Provider("the issuer is no URL"))?;
    let answer: TokenAnswer = read(&http.send(request).await?)?;
    let scope = answer.scope;
    let token = answer.access_token.map(SecretString::from);
    let token = token.ok_or(Failure::Provider("it does not take the code"))?;
    let user = ask::<GithubUser>(http, provider, "user", &token);
    let addresses = ask::<Vec<Address>>(http, provider, "user/emails?per_page=100", &token);
    let (user, addresses) = tokio::try_join!(user, addresses)?;
    let primary = addresses.into_iter().find(|address| address.primary);
    let email_verified = primary.as_ref().is_some_and(|address| address.verified);
    let identity = ExternalIdentity {
        provider: provider.name.clone(),
        issuer: provider.issuer.clone(),
        subject: user.id.to_string(),
        email: primary.and_then(|address| EmailAddress::parse(&address.email).ok()),
        email_verified,
        name: user.name.and_then(|name| PersonName::parse(&name).ok()),
    };
    let tokens = ProviderTokens {
        access_token: token.expose_secret().to_owned(),
        refresh_token: None,
        expires_at: None,
        scope,
    };
    Ok((identity, tokens))
}

async fn ask<T: DeserializeOwned>(
    http: &HttpClient,
    provider: &OauthProvider,
    path: &str,
    token: &SecretString,
) -> Result<T, Failure> {
    let unexpected = || Failure::Provider("the API is no URL");
    let url = provider.api.as_ref().and_then(|api| api.join(path).ok());
    let request = http::Request::get(url.ok_or_else(unexpected)?.as_str())
        .header(ACCEPT, "application/vnd.github+json")
        .header(AUTHORIZATION, format!("Bearer {}", token.expose_secret()))
        .body(Vec::new());
    read(&http.send(request.map_err(|_| unexpected())?).await?)
}

fn read<T: DeserializeOwned>(answer: &HttpResponse) -> Result<T, Failure> {
    let invalid = Failure::Provider("its answer is not valid");
    match answer.status().is_success() {
        true => serde_json::from_slice(answer.body()).map_err(|_| invalid),
        false => Err(invalid),
    }
}
