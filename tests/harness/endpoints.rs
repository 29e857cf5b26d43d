//! Every route of the template with a valid request, for tests about all endpoints. A new route without a request fails
//! those tests.

use std::collections::BTreeSet;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::client::{Account, Client, unique_email, unique_password};
use crate::operations::OPERATIONS;

/// The functions whose answers have the form of another standard, or are pages.
const OTHER_FORMS: [&str; 5] = ["errors", "introspect", "jwks", "openapi", "revoke"];

/// A store that an endpoint uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    DynamoDb,
    Redis,
}

/// A route with a request that its function accepts.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub method: Method,
    pub path: String,
    /// The route's function and method; aliases have the same.
    pub operation: String,
    /// The body, if the endpoint takes one.
    pub body: Option<Value>,
    /// The answer's status while everything works.
    pub status: u16,
    /// The stores without which the endpoint cannot answer, apart from the limits.
    pub needs: &'static [Store],
}

impl Endpoint {
    /// Builds the request without its body, with this access token.
    pub fn bare_request(&self, client: &Client, access: &str) -> RequestBuilder {
        let request = client.request(self.method.clone(), &self.path);
        request.bearer_auth(access)
    }

    /// Builds the request.
    pub fn request(&self, client: &Client, access: &str) -> RequestBuilder {
        let request = self.bare_request(client, access);
        match &self.body {
            Some(body) => request.json(body),
            None => request,
        }
    }
}

/// Returns every route that answers in the API's own form. The requests that end the account and its session come last.
pub fn endpoints(account: &Account) -> Vec<Endpoint> {
    let in_own_form = OPERATIONS
        .iter()
        .filter(|(_, operation)| !OTHER_FORMS.contains(&operation.as_str()));
    let mut endpoints: Vec<Endpoint> = in_own_form
        .map(|(route, operation)| {
            let (body, status, needs) = sample(operation, account);
            let method = match route.is_default() {
                true => Method::GET,
                false => route.method.parse().expect("a method"),
            };
            let path = route.path.replace("{id}", "01ARZ3NDEKTSV4RRFFQ69G5FAV");
            let path = path.replace("$default", "/nothing");
            Endpoint {
                method,
                path,
                operation: operation.clone(),
                body,
                status,
                needs,
            }
        })
        .collect();
    let is_last = |endpoint: &Endpoint| {
        let last = ["DELETE delete-account", "POST logout"];
        last.iter().position(|last| *last == endpoint.operation)
    };
    endpoints.sort_by_key(is_last);
    endpoints
}

/// Returns the endpoints that take a body, without their aliases.
pub fn endpoints_with_body(account: &Account) -> Vec<Endpoint> {
    let mut seen = BTreeSet::new();
    let mut endpoints = endpoints(account);
    endpoints.retain(|endpoint| endpoint.body.is_some() && seen.insert(endpoint.operation.clone()));
    endpoints
}

/// Returns a body that the operation accepts, the status of its answer, and the stores that it needs.
fn sample(operation: &str, account: &Account) -> (Option<Value>, u16, &'static [Store]) {
    use Store::{DynamoDb, Redis};
    let token = "0".repeat(64); // a mailed token that does not exist
    let (body, status, needs): (Value, u16, &'static [Store]) = match operation {
        "POST register" => (
            json!({ "email": unique_email(), "password": unique_password() }),
            201,
            &[Redis, DynamoDb],
        ),
        "POST login" => (
            json!({ "email": account.email, "password": account.password }),
            200,
            &[Redis, DynamoDb],
        ),
        "POST refresh" => (
            json!({ "refreshToken": account.refresh }),
            200,
            &[Redis, DynamoDb],
        ),
        "csrf-token" => return (None, 401, &[]), // without its cookie
        "POST logout" => (json!({}), 200, &[Redis, DynamoDb]),
        "GET sessions" | "GET profile" => return (None, 200, &[Redis, DynamoDb]),
        "DELETE sessions" => (json!({}), 200, &[Redis, DynamoDb]),
        "sessions/{id}" => (json!({}), 404, &[Redis, DynamoDb]),
        "POST change-password" => (
            json!({ "currentPassword": "Wrong-7-horse", "newPassword": unique_password() }),
            403,
            &[Redis, DynamoDb],
        ),
        "POST reset-request" => (json!({ "email": account.email }), 200, &[Redis, DynamoDb]),
        "POST reset-confirm" => (
            json!({ "token": token, "newPassword": unique_password() }),
            400,
            &[Redis],
        ),
        "POST verify-email" => (json!({ "token": token }), 400, &[DynamoDb]),
        "POST verify-resend" => (json!({ "email": account.email }), 200, &[DynamoDb]),
        "POST code-request" => (json!({ "email": account.email }), 200, &[Redis, DynamoDb]),
        "POST code-confirm" => (
            json!({ "requestToken": token, "code": "123456" }),
            401,
            &[Redis, DynamoDb],
        ),
        "passkey-register/options" => (json!({}), 403, &[Redis, DynamoDb]),
        "POST passkey-register" => (json!({ "credential": {} }), 403, &[Redis, DynamoDb]),
        "passkey-login/options" => (json!({}), 200, &[Redis]),
        "POST passkey-login" => (json!({ "credential": {} }), 401, &[]), // no answer to look up
        "POST oauth-start" => (json!({ "provider": "google" }), 404, &[]), // none is configured
        "GET oauth-callback" | "POST oauth-callback" => return (None, 303, &[]), // without a state
        "GET oauth-tokens" => return (None, 404, &[Redis, DynamoDb]),
        "POST oauth-login" => (
            json!({ "grant": token, "requestToken": token }),
            401,
            &[DynamoDb],
        ),
        "POST oauth-link" => (
            json!({ "grant": token, "requestToken": token }),
            403,
            &[Redis, DynamoDb],
        ),
        "DELETE oauth-unlink" => (json!({}), 404, &[Redis, DynamoDb]),
        "DELETE passkey-remove" => (json!({}), 404, &[Redis, DynamoDb]),
        "POST two-factor-setup" => (json!({}), 200, &[Redis, DynamoDb]),
        "POST two-factor-verify" => (
            json!({ "token": "000000", "deviceId": "unknown" }),
            404,
            &[Redis, DynamoDb],
        ),
        "POST two-factor-disable" => (json!({ "token": "000000" }), 400, &[Redis, DynamoDb]),
        "POST two-factor-undo" => (json!({ "token": token }), 400, &[DynamoDb]),
        "PUT profile" => (json!({ "name": "Ada" }), 200, &[Redis, DynamoDb]),
        "DELETE delete-account" => (
            json!({ "password": account.password }),
            200,
            &[Redis, DynamoDb],
        ),
        "GET well-known" => return (None, 302, &[]),
        "not-found" => return (None, 404, &[]),
        unknown => panic!("there is no sample request to {unknown}"),
    };
    (Some(body), status, needs)
}
