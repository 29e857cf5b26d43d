//! The providers with which users may sign in, as configured.

use std::collections::BTreeMap;

use serde::Deserialize;
use url::Url;

use crate::config::Environment;
use crate::domain::provider::ProviderName;
use crate::domain::rule::Parse;

/// The tenant of Microsoft whose users may sign in, unless another one is configured: all.
const MICROSOFT_TENANT: &str = "common";

/// The providers, by name.
pub struct OauthProviders {
    providers: BTreeMap<ProviderName, OauthProvider>,
    callback_url: String,
}

/// A provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OauthProvider {
    /// The name in requests.
    pub name: ProviderName,
    /// What it speaks.
    pub kind: ProviderKind,
    /// The identifier of this system at the provider.
    pub client_id: String,
    /// The issuer, exactly as its tokens name it; for GitHub, the address of its pages.
    pub issuer: String,
    /// The page where the user signs in.
    pub authorization_endpoint: Url,
    /// The scopes, separated by spaces.
    pub scopes: String,
    /// The domains whose addresses count as verified; if it is empty, all do.
    pub email_domains: Vec<String>,
    /// Whether the tokens that it issues for its own API are kept.
    pub keeps_tokens: bool,
    /// Apple's key, which signs the client secret.
    pub apple_key: Option<AppleKey>,
    /// The address of GitHub's API, with a slash at its end.
    pub api: Option<Url>,
}

/// The identifiers of the key with which Apple's client secret is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppleKey {
    /// The developer team.
    pub team_id: String,
    /// The key.
    pub key_id: String,
}

/// What a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// OpenID Connect.
    Oidc,
    /// Google's OpenID Connect.
    Google,
    /// OpenID Connect with a signed client secret, whose answer comes as a form.
    Apple,
    /// OpenID Connect with an issuer for each tenant; an address is verified only if a claim of its own says so.
    Microsoft,
    /// OAuth 2.0 with an API for the user and the addresses.
    Github,
}

/// A provider in `OAUTH_PROVIDERS`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    name: String,
    kind: Option<ProviderKind>,
    client_id: String,
    issuer: Option<String>,
    authorization_endpoint: Option<Url>,
    scopes: Option<String>,
    tenant: Option<String>,
    team_id: Option<String>,
    key_id: Option<String>,
    api: Option<Url>,
    #[serde(default)]
    email_domains: Vec<String>,
    #[serde(default)]
    keep_tokens: bool,
}

impl OauthProviders {
    /// Reads `OAUTH_PROVIDERS`, a JSON array, and `OAUTH_CALLBACK_URL`, which providers require. Without providers,
    /// there are no sign-ins with others.
    pub fn from_env(environment: &mut Environment) -> Self {
        let read = environment.optional("OAUTH_PROVIDERS", "a JSON array of providers", |text| {
            serde_json::from_str::<Vec<Entry>>(text).ok()
        });
        let callback_url = environment.optional_url("OAUTH_CALLBACK_URL");
        let mut providers = BTreeMap::new();
        for entry in read.unwrap_or_default() {
            let name = entry.name.clone();
            match OauthProvider::new(entry, environment.is_production()) {
                Ok(provider) => {
                    if providers.insert(provider.name.clone(), provider).is_some() {
                        environment.refuse(format!("OAUTH_PROVIDERS has {name} twice"));
                    }
                }
                Err(problem) => environment.refuse(format!("OAUTH_PROVIDERS, {name}: {problem}")),
            }
        }
        if !providers.is_empty() && callback_url.is_none() {
            environment.refuse("OAUTH_CALLBACK_URL is missing; the providers must have it, too");
        }
        Self {
            providers,
            callback_url: callback_url
                .unwrap_or_default()
                .trim_end_matches('/')
                .to_owned(),
        }
    }

    /// Returns the URL to which a provider sends the browser back. Each has its own, so that a code of one provider is
    /// never sent to another (RFC 9700, 4.4).
    pub fn callback_of(&self, provider: &OauthProvider) -> String {
        format!("{}/{}", self.callback_url, provider.name.as_str())
    }

    /// Finds a provider.
    pub fn find(&self, name: &ProviderName) -> Option<&OauthProvider> {
        self.providers.get(name)
    }

    /// Returns all providers.
    pub fn all(&self) -> impl Iterator<Item = &OauthProvider> {
        self.providers.values()
    }
}

impl OauthProvider {
    fn new(entry: Entry, is_production: bool) -> Result<Self, String> {
        let name = ProviderName::parse(&entry.name);
        let name =
            name.map_err(|_| "the name must be lower-case letters, digits and underscores")?;
        let kind = entry.kind.unwrap_or(match name.as_str() {
            "google" => ProviderKind::Google,
            "apple" => ProviderKind::Apple,
            "microsoft" => ProviderKind::Microsoft,
            "github" => ProviderKind::Github,
            _ => ProviderKind::Oidc,
        });
        let tenant = entry.tenant.as_deref().unwrap_or(MICROSOFT_TENANT);
        let (issuer, page, scopes) = kind.defaults(tenant);
        // As it is written: tokens are compared with the text, with or without a slash at its end.
        let issuer = entry.issuer.clone().or(issuer).ok_or("issuer is missing")?;
        let page = match (entry.authorization_endpoint, kind, &entry.issuer) {
            (Some(page), ..) => page,
            (None, ProviderKind::Github, Some(own)) => github_page(own)?,
            _ => {
                let page = page.ok_or("authorizationEndpoint is missing")?;
                Url::parse(&page).map_err(|_| "tenant is not valid")?
            }
        };
        let apple_key = match (kind, entry.team_id, entry.key_id) {
            (ProviderKind::Apple, Some(team_id), Some(key_id)) => {
                Some(AppleKey { team_id, key_id })
            }
            (ProviderKind::Apple, ..) => return Err("teamId and keyId are required".into()),
            (_, None, None) => None,
            _ => return Err("only apple has teamId and keyId".into()),
        };
        if entry.tenant.is_some() && kind != ProviderKind::Microsoft {
            return Err("only microsoft has a tenant".into());
        }
        let api = match (kind, entry.api) {
            (ProviderKind::Github, None) => Url::parse("https://api.github.com/").ok(),
            (ProviderKind::Github, Some(api)) if api.path().ends_with('/') => Some(api),
            (ProviderKind::Github, Some(_)) => return Err("api must end with a slash".into()),
            (_, None) => None,
            (_, Some(_)) => return Err("only github has an api".into()),
        };
        if entry.client_id.is_empty() {
            return Err("clientId is empty".into());
        }
        let parsed = Url::parse(&issuer).map_err(|_| "issuer is no URL")?;
        let urls = [Some(parsed), Some(page.clone()), api.clone()];
        let is_safe =
            |url: &Url| url.scheme() == "https" || (!is_production && url.scheme() == "http");
        if !urls.iter().flatten().all(is_safe) {
            return Err("a URL must be an https: URL".into());
        }
        Ok(Self {
            name,
            kind,
            client_id: entry.client_id,
            issuer,
            authorization_endpoint: page,
            scopes: entry.scopes.unwrap_or_else(|| scopes.to_owned()),
            email_domains: entry.email_domains,
            keeps_tokens: entry.keep_tokens,
            apple_key,
            api,
        })
    }
}

impl OauthProvider {
    /// Returns whether an address of this domain, in lower case, may count as verified by the provider.
    pub fn may_verify(&self, domain: &str) -> bool {
        let mut domains = self.email_domains.iter();
        self.email_domains.is_empty() || domains.any(|own| own.eq_ignore_ascii_case(domain))
    }
}

impl ProviderKind {
    /// Returns the issuer, the page and the scopes where none are configured.
    fn defaults(self, tenant: &str) -> (Option<String>, Option<String>, &'static str) {
        let all = "openid email profile";
        let text = |text: &str| Some(text.to_owned());
        match self {
            Self::Oidc => (None, None, all),
            Self::Google => (
                text("https://accounts.google.com"),
                text("https://accounts.google.com/o/oauth2/v2/auth"),
                all,
            ),
            Self::Apple => (
                text("https://appleid.apple.com"),
                text("https://appleid.apple.com/auth/authorize"),
                "openid email",
            ),
            Self::Microsoft => {
                let base = format!("https://login.microsoftonline.com/{tenant}");
                let page = format!("{base}/oauth2/v2.0/authorize");
                (Some(format!("{base}/v2.0")), Some(page), all)
            }
            Self::Github => (
                text("https://github.com"),
                text("https://github.com/login/oauth/authorize"),
                "read:user user:email",
            ),
        }
    }
}

fn github_page(issuer: &str) -> Result<Url, String> {
    let page = format!("{}/login/oauth/authorize", issuer.trim_end_matches('/'));
    Url::parse(&page).map_err(|_| "issuer is not valid".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(environment: &str, providers: &str) -> Result<Vec<OauthProvider>, String> {
        let callback = "https://api.example.com/api/auth/oauth/callback";
        let mut environment = Environment::of(&[
            ("ENVIRONMENT", environment),
            ("OAUTH_PROVIDERS", providers),
            ("OAUTH_CALLBACK_URL", callback),
        ]);
        let providers = OauthProviders::from_env(&mut environment);
        let all = providers.all().cloned().collect();
        environment.finish(all).map_err(|error| error.to_string())
    }

    #[test]
    fn the_great_ones_need_only_their_identifiers() {
        let all = r#"[{"name":"google","clientId":"g"},{"name":"apple","clientId":"a","teamId":"t","keyId":"k"},
            {"name":"microsoft","clientId":"m"},{"name":"github","clientId":"h"}]"#;
        let all = read("prod", all).unwrap();
        let issuers: Vec<_> = all
            .iter()
            .map(|provider| provider.issuer.as_str())
            .collect();
        assert_eq!(
            issuers,
            [
                "https://appleid.apple.com",
                "https://github.com",
                "https://accounts.google.com",
                "https://login.microsoftonline.com/common/v2.0",
            ]
        );
        let tenant = r#"[{"name":"work","kind":"microsoft","clientId":"m","tenant":"contoso"}]"#;
        let work = &read("prod", tenant).unwrap()[0];
        assert_eq!(
            work.issuer,
            "https://login.microsoftonline.com/contoso/v2.0"
        );
        let page = "https://login.microsoftonline.com/contoso/oauth2/v2.0/authorize";
        assert_eq!(work.authorization_endpoint.as_str(), page);
    }

    #[test]
    fn any_issuer_can_be_named() {
        let acme = r#"[{"name":"acme","clientId":"c","issuer":"https://id.acme.example",
            "authorizationEndpoint":"https://id.acme.example/authorize"}]"#;
        let acme = &read("prod", acme).unwrap()[0];
        assert_eq!(acme.issuer, "https://id.acme.example");
        let own = r#"[{"name":"own","kind":"github","clientId":"c","issuer":"https://git.acme.example/",
            "api":"https://git.acme.example/api/v3/"}]"#;
        let own = &read("prod", own).unwrap()[0];
        let page = "https://git.acme.example/login/oauth/authorize";
        assert_eq!(own.authorization_endpoint.as_str(), page);
    }

    #[test]
    fn what_is_incomplete_or_unsafe_is_refused_by_name() {
        let local = r#"[{"name":"a","clientId":"c","issuer":"http://127.0.0.1:1","authorizationEndpoint":"http://127.0.0.1:1/x"}]"#;
        assert!(read("dev", local).is_ok());
        for bad in [
            local,
            r#"[{"name":"acme","clientId":"c"}]"#,
            r#"[{"name":"acme","clientId":"c","issuer":"https://a.example"}]"#,
            r#"[{"name":"apple","clientId":"c"}]"#,
            r#"[{"name":"google","clientId":"c","teamId":"t"}]"#,
            r#"[{"name":"google","clientId":"c","tenant":"t"}]"#,
            r#"[{"name":"google","clientId":"c","api":"https://a.example/"}]"#,
            r#"[{"name":"github","clientId":"c","api":"https://a.example/api"}]"#,
            r#"[{"name":"google","clientId":""}]"#,
            r#"[{"name":"google","clientId":"c","clientSecret":"s"}]"#,
            r#"[{"name":"Google","clientId":"c"}]"#,
            r#"[{"name":"google","clientId":"c"},{"name":"google","clientId":"d"}]"#,
            "google",
        ] {
            let error = read("prod", bad).unwrap_err();
            assert!(error.contains("OAUTH_PROVIDERS"), "{bad}: {error}");
        }
    }

    #[test]
    fn providers_must_know_where_to_send_the_browser() {
        let mut environment = Environment::of(&[
            ("ENVIRONMENT", "dev"),
            ("OAUTH_PROVIDERS", r#"[{"name":"google","clientId":"c"}]"#),
        ]);
        OauthProviders::from_env(&mut environment);
        assert!(environment.finish(()).is_err());
    }
}
