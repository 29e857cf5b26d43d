//! API Gateway's HTTP API: routes, authorizers and CORS from the template, events and answers in payload format 2.0, and the
//! gateway's own answers for requests without a function.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::from_fn;
use axum::response::Redirect;
use axum::routing::{any, get};
use axum::{Json, Router};
use dynoxide::Database;
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::net::TcpListener;

use crate::console::{self, Activity};
use crate::info::Info;
use crate::lambda::{InvokeError, Lambda};
use crate::log::{Exchange, Log};
use crate::mail::{Inbox, Mail};
use crate::pages::{CONSOLE, PAGES};
use crate::template::{Cors, Route};
use crate::{hosts, identity};

mod authorizer;
mod event;
mod plain_cookies;

pub use authorizer::Authorization;
use event::{event, from_function};

/// The most bytes of a request's body (API Gateway's own limit).
const MAX_PAYLOAD: usize = 10 * 1024 * 1024;

/// An API and everything behind its routes.
pub struct Gateway {
    /// The functions.
    pub lambdas: Vec<Arc<Lambda>>,
    /// The CORS configuration.
    pub cors: Cors,
    /// The authorizers of routes.
    pub authorization: Authorization,
    /// The log, which reports requests and refused origins.
    pub log: Log,
    /// Whether cookies come without `Secure` and `__Host-`.
    pub plain_cookies: bool,
    /// Whether other machines may ask by an address of this machine.
    pub is_in_network: bool,
}

/// The pages that the local stack adds to its own API, beneath `/_local`.
#[derive(Clone)]
pub struct LocalPages {
    /// The answer of `/_local/info`.
    pub info: Info,
    /// The mails that `/_local/mail` shows.
    pub inbox: Inbox,
    /// The requests that `/_local/activity` shows.
    pub activity: Activity,
    /// The tables that `/_local/state` shows.
    pub database: Database,
}

/// Serves an API, with or without these pages, until the task is dropped.
pub async fn serve(listeners: Vec<TcpListener>, gateway: Arc<Gateway>, pages: Option<LocalPages>) {
    let is_in_network = gateway.is_in_network;
    let api = Router::new().fallback(answer);
    let router = match pages {
        None => api.with_state(gateway),
        Some(pages) => api
            .route("/", any(root))
            .with_state(gateway)
            .merge(local_pages(pages)),
    };
    let router = match is_in_network {
        true => router.layer(from_fn(hosts::own_and_addresses)),
        false => router.layer(from_fn(hosts::only_own)),
    };
    let serving = listeners.into_iter().map(|listener| {
        let service = router.clone();
        let service = service.into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, service).into_future()
    });
    // They end with the stack; an error then does not matter.
    let _ = join_all(serving).await;
}

fn local_pages(pages: LocalPages) -> Router {
    let router = Router::new()
        .route("/_local/info", get(info))
        .route("/_local/mail", get(mails).delete(clear_mails))
        .route("/_local/activity", get(activity))
        .route("/_local/state", get(state))
        // The front end itself, to which notices by mail lead.
        .route("/_local", get(async || Redirect::temporary("/")))
        .route("/_local/", get(async || Redirect::temporary("/#inbox")))
        .with_state(pages);
    PAGES.into_iter().fold(router, |router, page| {
        let path = page.path;
        router.route(path, get(async move || page.answer()))
    })
}

async fn info(State(pages): State<LocalPages>) -> Json<Info> {
    Json(pages.info)
}

/// The last change that the console knows.
#[derive(Deserialize)]
struct Known {
    #[serde(default)]
    after: u64,
}

async fn activity(State(pages): State<LocalPages>, Query(known): Query<Known>) -> Json<Value> {
    Json(pages.activity.after(known.after))
}

async fn state(State(pages): State<LocalPages>) -> Json<Value> {
    let info = &pages.info;
    let tables = [info.users_table.clone(), info.credentials_table.clone()];
    Json(console::state(&pages.database, &tables, &info.redis_url).await)
}

async fn mails(State(pages): State<LocalPages>) -> Json<Vec<Mail>> {
    Json(pages.inbox.mails())
}

async fn clear_mails(State(pages): State<LocalPages>) -> StatusCode {
    pages.inbox.clear();
    StatusCode::NO_CONTENT
}

/// Shows the console to somebody who opens the printed address.
async fn root(
    gateway: State<Arc<Gateway>>,
    peer: ConnectInfo<SocketAddr>,
    request: Request,
) -> Response<Body> {
    match *request.method() {
        Method::GET => CONSOLE.answer(),
        _ => answer(gateway, peer, request).await,
    }
}

async fn answer(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
) -> Response<Body> {
    if gateway.plain_cookies {
        plain_cookies::restore(request.headers_mut());
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    gateway.tell_of_refused(request.headers());
    let is_preflight = request.method() == Method::OPTIONS
        && origin.is_some()
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match is_preflight {
        true => status(StatusCode::NO_CONTENT),
        false => gateway.observe(request, peer).await,
    };
    if gateway.plain_cookies {
        plain_cookies::simplify(response.headers_mut());
    }
    gateway.add_cors_headers(response.headers_mut(), origin.as_ref(), is_preflight);
    response
}

impl Gateway {
    /// Answers a request and logs it.
    async fn observe(&self, request: Request, peer: SocketAddr) -> Response<Body> {
        let (received_at, started) = (OffsetDateTime::now_utc(), Instant::now());
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let found = self.find(&method, &path);
        let function = found.as_ref().map(|found| found.0.function.name.clone());
        let response = match found {
            Some(found) => self.route(request, peer, found).await,
            None => message(StatusCode::NOT_FOUND, "Not Found"),
        };
        let duration = started.elapsed();
        let (response, failure) = failure(response).await;
        let text = |name: &str| Some(failure.get(name)?.as_str()?.to_owned());
        let request_id = response.headers().get("x-request-id");
        let request_id = request_id.and_then(|id| id.to_str().ok());
        self.log.add_exchange(Exchange {
            // The gateway's own answers have none.
            request_id: request_id.map_or_else(identity::request_id, str::to_owned),
            received_at,
            method: method.to_string(),
            path,
            function,
            status: response.status().as_u16(),
            code: text("error"),
            limit: text("limit"),
            duration,
        });
        response
    }

    async fn route(
        &self,
        request: Request,
        peer: SocketAddr,
        (lambda, route, parameters): Found,
    ) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let Ok(body) = to_bytes(body, MAX_PAYLOAD).await else {
            return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
        };
        let mut event = event(&parts, &body, peer, &route.key(), &parameters);
        if let Some(authorizer) = &route.authorizer {
            match self.authorization.ask(authorizer, &event).await {
                Ok(context) => event["requestContext"]["authorizer"] = context,
                Err(refusal) => {
                    let (status, text) = refusal.answer();
                    return message(status, text);
                }
            }
        }
        // In a separate task: a function continues after its client has disconnected.
        let invocation =
            tokio::spawn(async move { lambda.invoke(Bytes::from(event.to_string())).await });
        match invocation.await {
            Ok(Ok(answer)) => from_function(&answer).unwrap_or_else(|| {
                message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
            }),
            Ok(Err(InvokeError::TimedOut)) => {
                message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
            }
            _ => message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        }
    }

    /// Returns the function of the matching route, with the route and the path's parameters; without a match,
    /// `$default`.
    fn find(&self, method: &Method, path: &str) -> Option<Found> {
        let routes = || {
            self.lambdas.iter().flat_map(|lambda| {
                let routes = lambda.function.routes.iter();
                routes.map(move |route| (lambda, route))
            })
        };
        let specific = routes().find_map(|(lambda, route)| {
            let parameters = matches(route, method, path)?;
            Some((lambda.clone(), route.clone(), parameters))
        });
        specific.or_else(|| {
            let (lambda, route) = routes().find(|(_, route)| route.is_default())?;
            Some((lambda.clone(), route.clone(), BTreeMap::new()))
        })
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let origin = origin.to_str().unwrap_or_default();
        let mut listed = self.cors.origins.iter();
        listed.any(|listed| is_meant(listed, origin))
    }

    /// Logs requests of refused origins, and preflights for refused headers: a browser reports only "CORS error".
    fn tell_of_refused(&self, headers: &HeaderMap) {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(origin) = text(header::ORIGIN) else {
            return;
        };
        // The pages beneath /_local have the API's own origin.
        let own = text(header::HOST).map(|host| format!("http://{host}"));
        if own.as_deref() == Some(origin) {
            return;
        }
        if !headers
            .get(header::ORIGIN)
            .is_some_and(|value| self.allows(value))
        {
            let line = format!(
                "pages of {origin} get no answer: it is not in CORS_ALLOWED_ORIGINS; try --env CORS_ALLOWED_ORIGINS={origin}"
            );
            self.log.add("gateway", &line);
            return;
        }
        let asked = text(header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        let asked = asked.split(',').map(|name| name.trim().to_lowercase());
        let refused = asked.filter(|name| !name.is_empty() && !self.cors.headers.contains(name));
        let refused = refused.collect::<Vec<_>>().join(",");
        if !refused.is_empty() {
            let line = format!(
                "pages of {origin} must not send {refused}; try --env CORS_ALLOWED_HEADERS={refused}"
            );
            self.log.add("gateway", &line);
        }
    }

    /// Adds the CORS headers; API Gateway answers CORS itself and overrides the function's headers.
    fn add_cors_headers(
        &self,
        headers: &mut HeaderMap,
        origin: Option<&HeaderValue>,
        is_preflight: bool,
    ) {
        let cors = &self.cors;
        let Some(origin) = origin.filter(|origin| self.allows(origin)) else {
            return;
        };
        let mut add = |name: HeaderName, value: String| {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        };
        if cors.credentials {
            add(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true".to_owned());
        }
        if is_preflight {
            add(header::ACCESS_CONTROL_ALLOW_METHODS, cors.methods.join(","));
            add(header::ACCESS_CONTROL_ALLOW_HEADERS, cors.headers.join(","));
            add(
                header::ACCESS_CONTROL_MAX_AGE,
                cors.max_age_seconds.to_string(),
            );
        } else {
            add(
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                cors.exposed.join(","),
            );
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}

/// A function with the route of a request and the path's parameters.
type Found = (Arc<Lambda>, Route, BTreeMap<String, String>);

/// Returns the response again, and the body of a failure.
async fn failure(response: Response<Body>) -> (Response<Body>, Value) {
    if response.status().as_u16() < 400 {
        return (response, Value::Null);
    }
    let (parts, body) = response.into_parts();
    // The bodies of functions are in memory already.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let failure = serde_json::from_slice(&body).unwrap_or_default();
    (Response::from_parts(parts, Body::from(body)), failure)
}

/// Whether the origin is the listed one, or, for an entry such as `http://localhost:*`, has any port of this machine.
fn is_meant(listed: &str, origin: &str) -> bool {
    match listed.strip_suffix(":*") {
        None => listed == origin,
        Some(machine) => origin.strip_prefix(machine).is_some_and(|port| {
            let digits = port.strip_prefix(':');
            port.is_empty() || digits.is_some_and(|port| port.parse::<u16>().is_ok())
        }),
    }
}

/// Returns the path's parameters if the route matches.
fn matches(route: &Route, method: &Method, path: &str) -> Option<BTreeMap<String, String>> {
    if route.method != "ANY" && route.method != method.as_str() {
        return None;
    }
    let (mut expected, mut given) = (route.path.split('/'), path.split('/'));
    let mut parameters = BTreeMap::new();
    loop {
        match (expected.next(), given.next()) {
            (None, None) => return Some(parameters),
            (Some(expected), Some(given)) => {
                match expected
                    .strip_prefix('{')
                    .and_then(|name| name.strip_suffix('}'))
                {
                    Some(name) if !given.is_empty() => {
                        drop(parameters.insert(name.to_owned(), given.to_owned()))
                    }
                    None if expected == given => {}
                    _ => return None,
                }
            }
            _ => return None,
        }
    }
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Returns an answer of API Gateway itself.
fn message(code: StatusCode, text: &str) -> Response<Body> {
    let mut response = status(code);
    *response.body_mut() = Body::from(json!({ "message": text }).to_string());
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_match_whole_paths_and_name_their_parameters() {
        let route = Route {
            method: "DELETE".to_owned(),
            path: "/api/auth/sessions/{id}".to_owned(),
            authorizer: None,
        };

        let parameters = matches(&route, &Method::DELETE, "/api/auth/sessions/7").unwrap();

        assert_eq!(parameters["id"], "7");
        for (method, path) in [
            (Method::GET, "/api/auth/sessions/7"),
            (Method::DELETE, "/api/auth/sessions/"),
            (Method::DELETE, "/api/auth/sessions"),
            (Method::DELETE, "/api/auth/sessions/7/8"),
        ] {
            assert!(matches(&route, &method, path).is_none(), "{method} {path}");
        }
    }
}
