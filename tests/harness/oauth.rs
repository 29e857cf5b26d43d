//! Sign-in with other providers: a certified provider, and one that misbehaves on command.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use crate::client::unique;
use crate::programs::{Folder, Server};
use crate::token::{self, KeyPair, key_set};
use crate::world::Builder;
use crate::{Account, Answer, Client, World};

/// The client of these providers.
pub const CLIENT_ID: &str = "gatehouse";
pub const CLIENT_SECRET: &str = "a client secret of a test";

/// The names of the providers in the configuration.
pub const REAL: &str = "real";
pub const FAKE: &str = "fake";

/// A sign-in that has begun.
#[derive(Clone)]
pub struct Begun {
    pub request_token: String,
    pub page: Url,
}

impl Begun {
    /// Returns a parameter of the provider's page.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = self.page.query_pairs();
        let (_, value) = pairs.find(|(known, _)| known == name)?;
        Some(value.into_owned())
    }

    /// Returns the address to which the provider sends the browser with a code.
    pub fn callback(&self, code: &str) -> Url {
        let callback = self.parameter("redirect_uri").expect("an address");
        let state = self.parameter("state").expect("a state");
        Url::parse_with_params(&callback, [("state", state.as_str()), ("code", code)])
            .expect("an address")
    }
}

/// Begins a sign-in.
pub async fn start(client: &Client, provider: &str) -> Begun {
    let body = json!({ "provider": provider });
    let answer = client.post("/api/auth/oauth/start", body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    Begun {
        request_token: answer.text("requestToken"),
        page: answer.text("authorizationUrl").parse().expect("a URL"),
    }
}

/// Opens the address to which the provider sends the browser; returns the fragment with which the browser comes back to
/// the front end.
pub async fn come_back(client: &Client, callback: &Url) -> String {
    let path = &callback[url::Position::BeforePath..];
    let answer = client.send(client.request(Method::GET, path)).await;
    fragment(&answer)
}

/// Returns the fragment of the page to which an answer leads.
pub fn fragment(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{answer:?}");
    let location: Url = answer
        .header("location")
        .expect("a page")
        .parse()
        .expect("a URL");
    assert!(location.path().ends_with("/oauth"), "{location}");
    location.fragment().expect("a fragment").to_owned()
}

/// Returns the grant in a fragment.
pub fn grant(fragment: &str) -> String {
    let grant = fragment.strip_prefix("grant=");
    grant
        .unwrap_or_else(|| panic!("no grant: {fragment}"))
        .to_owned()
}

/// Exchanges a grant for a session.
pub async fn login(client: &Client, begun: &Begun, grant: &str) -> Answer {
    let body = json!({ "grant": grant, "requestToken": begun.request_token });
    client.post("/api/auth/oauth/login", body).await
}

/// Links an identity.
pub async fn link(client: &Client, access: &str, begun: &Begun, grant: &str) -> Answer {
    let body = json!({ "grant": grant, "requestToken": begun.request_token });
    client.post_as(access, "/api/auth/oauth/link", body).await
}

/// Unlinks the identity of a provider.
pub async fn unlink(client: &Client, access: &str, provider: &str) -> Answer {
    let path = format!("/api/auth/oauth/links/{provider}");
    client.delete_as(access, &path, json!({})).await
}

/// Returns the providers of an account.
pub async fn linked(client: &Client, access: &str) -> Vec<String> {
    let profile = client.profile(access).await;
    let identities = profile["identities"].as_array().expect("a list").iter();
    let name = |identity: &Value| identity["provider"].as_str().expect("a name").to_owned();
    identities.map(name).collect()
}

/// A provider that is certified by the OpenID Foundation (the package `oidc-provider`).
pub struct RealProvider(Server);

impl RealProvider {
    /// Starts it. Without Node.js, reports the skipped test and returns `None`.
    pub async fn start() -> Option<Self> {
        let folder = Folder::of_node("tests/openid-provider")?;
        let mut command = folder.command("node");
        command.arg("provider.js");
        command.envs([("CLIENT_ID", CLIENT_ID), ("CLIENT_SECRET", CLIENT_SECRET)]);
        command.stderr(std::process::Stdio::null()); // it warns of older versions of Node.js
        Some(Self(Server::start(command).await))
    }

    /// Lets a world sign users in with it.
    pub fn configure(&self, world: Builder) -> Builder {
        let page = format!("{}/auth", self.0.url);
        let provider = json!({
            "name": REAL, "clientId": CLIENT_ID, "issuer": self.0.url, "authorizationEndpoint": page,
        });
        configure(world, &[provider])
    }

    /// Signs somebody in at the provider's own pages; returns the address to which it sends the browser.
    pub async fn sign_in(&self, page: &Url, login: &str) -> Url {
        let http = reqwest::Client::builder().redirect(Policy::none());
        let http = http.build().expect("a client");
        let mut cookies: HashMap<String, String> = HashMap::new();
        let (mut url, mut form) = (page.clone(), None::<Vec<(&str, &str)>>);
        for _ in 0..20 {
            let request = match form.take() {
                Some(fields) => with_form(http.post(url.clone()), &fields),
                None => http.get(url.clone()),
            };
            let pairs: Vec<String> = cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let answer = request.header("cookie", pairs.join("; ")).send();
            let answer = answer.await.expect("the provider answers");
            for cookie in answer.headers().get_all("set-cookie") {
                let cookie = cookie.to_str().expect("text");
                let pair = cookie.split(';').next().unwrap_or_default();
                let (name, value) = pair.split_once('=').expect("a cookie");
                cookies.insert(name.to_owned(), value.to_owned());
            }
            if let Some(location) = answer.headers().get("location") {
                url = url.join(location.to_str().expect("text")).expect("a URL");
                if !url.as_str().starts_with(&self.0.url) {
                    return url;
                }
                continue;
            }
            let text = answer.text().await.expect("a page");
            form = Some(match text.contains("value=\"login\"") {
                true => vec![("prompt", "login"), ("login", login), ("password", "any")],
                false => vec![("prompt", "consent")],
            });
        }
        panic!("the provider does not send the browser back from {url}");
    }

    /// Signs somebody in there, and comes back; returns the grant.
    pub async fn grant(&self, client: &Client, begun: &Begun, login: &str) -> String {
        let callback = self.sign_in(&begun.page, login).await;
        grant(&come_back(client, &callback).await)
    }
}

/// What a [`FakeProvider`] does.
#[derive(Clone)]
pub struct Script {
    /// The claims of the ID token; null removes one.
    pub claims: Value,
    /// The header of the ID token.
    pub header: Value,
    /// Whether another key than the published one signs.
    pub is_signed_by_another: bool,
    /// How long an answer takes.
    pub delay: Duration,
    /// The status of the answer to a code.
    pub status: StatusCode,
    /// More characters in the answer to a code.
    pub padding: usize,
    /// The refresh token in the answer to a code.
    pub refresh_token: Value,
    /// The answer about the user, beside the ID token; null for the subject alone.
    pub user_info: Value,
    /// The user and the addresses of an API like GitHub's.
    pub user: Value,
    pub addresses: Value,
    /// The requests with a code: their forms, with the header `Authorization` as `authorization`.
    pub asked: Vec<BTreeMap<String, String>>,
}

/// A provider that answers as its script says. Its page is never opened: the test sends the browser back itself.
pub struct FakeProvider {
    pub url: String,
    state: Arc<Fake>,
}

struct Fake {
    url: String,
    key: Mutex<Arc<KeyPair>>,
    script: Mutex<Script>,
}

impl FakeProvider {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let script = Script {
            claims: json!({}),
            header: json!({ "alg": "RS256" }),
            is_signed_by_another: false,
            delay: Duration::ZERO,
            status: StatusCode::OK,
            padding: 0,
            refresh_token: json!(null),
            user_info: json!(null),
            user: json!(null),
            addresses: json!([]),
            asked: Vec::new(),
        };
        let state = Arc::new(Fake {
            url: url.clone(),
            key: Mutex::new(Arc::new(KeyPair::generate())),
            script: Mutex::new(script),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys))
            .route("/token", post(exchange))
            .route("/login/oauth/access_token", post(exchange))
            .route("/userinfo", get(user_info))
            .route("/api/user", get(user))
            .route("/api/user/emails", get(addresses))
            .with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, state }
    }

    /// Returns its configuration; `more` adds fields.
    pub fn configuration(&self, more: Value) -> Value {
        let page = format!("{}/page", self.url);
        let mut provider = json!({
            "name": FAKE, "clientId": CLIENT_ID, "issuer": self.url, "authorizationEndpoint": page,
        });
        merge(&mut provider, &more);
        provider
    }

    /// Lets a world sign users in with it.
    pub fn configure(&self, world: Builder) -> Builder {
        configure(world, &[self.configuration(json!({}))])
    }

    /// Starts it, and a world that signs users in with it.
    pub async fn with_world() -> Option<(World, Self)> {
        let provider = Self::start().await;
        let world = provider.configure(World::build()).start()?;
        Some((world, provider))
    }

    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.state
            .script
            .lock()
            .expect("no test panics while it holds it")
    }

    /// Signs with a new key from now on.
    pub fn change_key(&self) {
        *self.state.key.lock().expect("no panic") = Arc::new(KeyPair::generate());
    }

    /// Signs this subject in: begins, answers with valid claims and these, and comes back; returns the fragment.
    pub async fn answer(&self, client: &Client, claims: Value) -> (Begun, String) {
        let begun = start(client, FAKE).await;
        self.expect(&begun, claims);
        let fragment = come_back(client, &begun.callback("a code")).await;
        (begun, fragment)
    }

    /// Prepares the answer to a sign-in that has begun.
    pub fn expect(&self, begun: &Begun, claims: Value) {
        let now = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("a clock")
            .as_secs();
        let mut all = json!({
            "iss": self.url, "aud": CLIENT_ID, "sub": "1", "iat": now, "exp": now + 300,
            "nonce": begun.parameter("nonce"),
        });
        merge(&mut all, &claims);
        self.script().claims = all;
    }

    /// Signs in, and expects a session.
    pub async fn signed_in(&self, client: &Client, claims: Value) -> Answer {
        let answer = self.login(client, claims).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    /// Signs in.
    pub async fn login(&self, client: &Client, claims: Value) -> Answer {
        let (begun, fragment) = self.answer(client, claims).await;
        login(client, &begun, &grant(&fragment)).await
    }

    /// Links an identity to an account.
    pub async fn link(&self, client: &Client, account: &Account, claims: Value) -> Answer {
        let (begun, fragment) = self.answer(client, claims).await;
        link(client, &account.access, &begun, &grant(&fragment)).await
    }
}

/// Returns claims of a new subject with this verified address.
pub fn verified(email: &str) -> Value {
    json!({ "sub": unique("subject"), "email": email, "email_verified": true, "name": "Ada L" })
}

/// Configures providers, all with the same secret.
pub fn configure(world: Builder, providers: &[Value]) -> Builder {
    let secret = |provider: &Value| {
        let name = provider["name"].as_str().expect("a name").to_owned();
        (name, json!(CLIENT_SECRET))
    };
    let secrets: Value = providers.iter().map(secret).collect();
    world
        .variable("OAUTH_PROVIDERS", &json!(providers).to_string())
        .variable("OAUTH_CLIENT_SECRETS", &secrets.to_string())
}

/// Adds a form to a request.
pub fn with_form(
    request: reqwest::RequestBuilder,
    fields: &[(&str, &str)],
) -> reqwest::RequestBuilder {
    let form = url::form_urlencoded::Serializer::new(String::new());
    let form = fields
        .iter()
        .fold(form, |mut form, (name, value)| {
            form.append_pair(name, value);
            form
        })
        .finish();
    request
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
}

fn merge(into: &mut Value, from: &Value) {
    for (name, value) in from.as_object().expect("an object") {
        match value {
            Value::Null => {
                into.as_object_mut().expect("an object").remove(name);
            }
            value => into[name] = value.clone(),
        }
    }
}

async fn metadata(State(fake): State<Arc<Fake>>) -> Json<Value> {
    let url = &fake.url;
    Json(json!({
        "issuer": url, "authorization_endpoint": format!("{url}/page"), "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/keys"), "userinfo_endpoint": format!("{url}/userinfo"), "response_types_supported": ["code"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
    }))
}

async fn keys(State(fake): State<Arc<Fake>>) -> Response {
    let key = fake.key.lock().expect("no panic").clone();
    let set = key_set(&[&key]);
    ([("content-type", "application/json")], set).into_response()
}

async fn exchange(
    State(fake): State<Arc<Fake>>,
    headers: HeaderMap,
    Form(mut form): Form<BTreeMap<String, String>>,
) -> Response {
    if let Some(authorization) = headers.get("authorization") {
        let text = authorization.to_str().expect("text").to_owned();
        form.insert("authorization".to_owned(), text);
    }
    let script = {
        let mut script = fake.script.lock().expect("no panic");
        script.asked.push(form);
        script.clone()
    };
    tokio::time::sleep(script.delay).await;
    if script.status.is_redirection() {
        let elsewhere = format!("{}/elsewhere", fake.url);
        return (script.status, [("location", elsewhere)]).into_response();
    }
    if script.status != StatusCode::OK {
        return (script.status, Json(json!({ "error": "invalid_grant" }))).into_response();
    }
    let key = match script.is_signed_by_another {
        true => Arc::new(KeyPair::generate()),
        false => fake.key.lock().expect("no panic").clone(),
    };
    let id_token = match script.header["alg"].as_str() {
        Some("HS256") => token::forge(&script.header, &script.claims, CLIENT_SECRET.as_bytes()),
        Some("none") => {
            let signed = key.forge(&script.header, &script.claims);
            let (unsigned, _) = signed.rsplit_once('.').expect("a signature");
            format!("{unsigned}.")
        }
        _ => key.forge(&script.header, &script.claims),
    };
    let mut answer = json!({ "access_token": "an access token of the provider", "token_type": "Bearer", "expires_in": 3600,
        "id_token": id_token });
    answer["padding"] = json!("x".repeat(script.padding));
    if script.refresh_token.is_string() {
        answer["refresh_token"] = script.refresh_token;
    }
    Json(answer).into_response()
}

async fn user_info(State(fake): State<Arc<Fake>>) -> Json<Value> {
    let script = fake.script.lock().expect("no panic");
    Json(match script.user_info.is_null() {
        true => json!({ "sub": script.claims["sub"] }),
        false => script.user_info.clone(),
    })
}

async fn user(State(fake): State<Arc<Fake>>) -> Json<Value> {
    Json(fake.script.lock().expect("no panic").user.clone())
}

async fn addresses(State(fake): State<Arc<Fake>>) -> Json<Value> {
    Json(fake.script.lock().expect("no panic").addresses.clone())
}

/// Returns the header `Authorization` of a client's id and secret.
pub fn basic(secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:{secret}")))
}
