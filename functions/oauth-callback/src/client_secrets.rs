//! The secrets with which this system authenticates itself at providers.

use std::collections::BTreeMap;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use openidconnect::ClientSecret;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use shared::auth::oauth_providers::{AppleKey, OauthProvider, OauthProviders};
use shared::config::Environment;
use shared::domain::timestamp::Timestamp;

/// The lifetime of a signed client secret, in seconds.
const LIFETIME: i64 = 300;

/// The secrets, by the provider's name.
pub struct ClientSecrets(BTreeMap<String, Secret>);

enum Secret {
    Text(SecretString),
    /// Apple's: a key, which signs a secret for each request.
    Key(Box<EncodingKey>, AppleKey),
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

impl ClientSecrets {
    /// Reads `OAUTH_CLIENT_SECRETS`: JSON with the secret of each provider; Apple's is a private key (PKCS#8, PEM).
    pub fn from_env(environment: &mut Environment, providers: &OauthProviders) -> Self {
        let form = "JSON with a text for each provider";
        let texts = environment.optional("OAUTH_CLIENT_SECRETS", form, |text| {
            serde_json::from_str::<BTreeMap<String, String>>(text).ok()
        });
        let mut texts = texts.unwrap_or_default();
        let mut secrets = BTreeMap::new();
        for provider in providers.all() {
            let name = provider.name.as_str();
            let Some(text) = texts.remove(name) else {
                environment.refuse(format!("OAUTH_CLIENT_SECRETS lacks {name}"));
                continue;
            };
            if text.is_empty() {
                environment.refuse(format!("OAUTH_CLIENT_SECRETS, {name}: is empty"));
            }
            let text = SecretString::from(text);
            let secret = match &provider.apple_key {
                None => Some(Secret::Text(text)),
                Some(key) => EncodingKey::from_ec_pem(text.expose_secret().as_bytes())
                    .ok()
                    .map(|private| Secret::Key(Box::new(private), key.clone())),
            };
            match secret {
                Some(secret) => {
                    secrets.insert(name.to_owned(), secret);
                }
                None => {
                    let problem = "must be a private key of P-256 in PEM";
                    environment.refuse(format!("OAUTH_CLIENT_SECRETS, {name}: {problem}"));
                }
            }
        }
        for name in texts.into_keys() {
            environment.refuse(format!(
                "OAUTH_CLIENT_SECRETS has {name}, which is no provider"
            ));
        }
        Self(secrets)
    }

    /// Returns the secret of a provider.
    pub fn of(&self, provider: &OauthProvider, now: Timestamp) -> Option<ClientSecret> {
        match self.0.get(provider.name.as_str())? {
            Secret::Text(text) => Some(ClientSecret::new(text.expose_secret().to_owned())),
            Secret::Key(private, key) => {
                let claims = Claims {
                    iss: &key.team_id,
                    sub: &provider.client_id,
                    aud: &provider.issuer,
                    iat: now.seconds(),
                    exp: now.seconds() + LIFETIME,
                };
                let mut header = Header::new(Algorithm::ES256);
                header.kid = Some(key.key_id.clone());
                let signed = jsonwebtoken::encode(&header, &claims, private).ok()?;
                Some(ClientSecret::new(signed))
            }
        }
    }
}
