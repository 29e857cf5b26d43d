//! `$default`: requests that no other route takes.

#[path = "../functions/not-found/src/routes.rs"]
mod routes;

use std::collections::BTreeMap;

use harness::{World, template};
use reqwest::Method;
use serde_json::{Value, json};

/// The function's table is the template's: every path with every method.
#[test]
fn it_knows_every_route_and_no_other() {
    let mut paths: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let functions = template().functions.into_iter();
    let routes = functions.flat_map(|function| function.routes);
    for route in routes.filter(|route| !route.is_default()) {
        paths.entry(route.path).or_default().push(route.method);
    }

    let mut known = BTreeMap::new();
    for (path, methods) in routes::ROUTES {
        let mut methods: Vec<String> = methods.split(", ").map(str::to_owned).collect();
        methods.sort();
        assert!(known.insert((*path).to_owned(), methods).is_none());
    }

    paths.values_mut().for_each(|methods| methods.sort());
    assert_eq!(known, paths);
}

#[tokio::test]
async fn an_unknown_path_is_a_404_like_any_other_failure() {
    let world = World::start();
    let client = world.client();
    for (method, path) in [
        (Method::GET, "/api"),
        (Method::POST, "/api/auth/registers"),
        (Method::GET, "/api/auth/sessions/7/8"),
        (Method::DELETE, "/nothing"),
        (Method::PATCH, "/api/auth"),
        (Method::GET, "/_local/nothing"),
        (Method::GET, "/<script>?secret=1"),
        // "A Well-Known URL for Changing Passwords", 4: password managers check that a missing resource is reported as
        // missing.
        (
            Method::GET,
            "/.well-known/resource-that-should-not-exist-whose-status-code-should-not-be-200",
        ),
    ] {
        let answer = client.send(client.request(method.clone(), path)).await;

        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (404, "not_found"),
            "{method} {path}"
        );
        assert_eq!(answer.text("message"), "There is no such path.");
    }
}

#[tokio::test]
async fn a_path_that_differs_in_slashes_or_case_is_told_the_right_one() {
    let world = World::start();
    let client = world.client();
    for (path, meant) in [
        ("/api/auth/login/", "/api/auth/login"),
        ("/Signup", "/signup"),
        ("/api//auth/LOGIN", "/api/auth/login"),
        ("/api/auth/sessions/7/", "/api/auth/sessions/{id}"),
        ("/api/auth/sessions/", "/api/auth/sessions"),
    ] {
        let answer = client.post(path, json!({})).await;

        assert_eq!((answer.status.as_u16(), answer.code()), (404, "not_found"));
        let message = format!("There is no such path. Is {meant} meant?");
        assert_eq!(answer.text("message"), message, "{path}");
    }
}

#[tokio::test]
async fn another_method_is_a_405_that_names_those_of_the_path() {
    let world = World::start();
    let client = world.client();
    for (method, path, allow) in [
        (Method::GET, "/api/auth/login", "POST"),
        (Method::PATCH, "/api/auth/profile", "GET, PUT, DELETE"),
        (Method::POST, "/api/auth/me", "GET"),
        (Method::PUT, "/api/auth/sessions/7", "DELETE"),
        (
            Method::from_bytes(b"PROPFIND").unwrap(),
            "/api/auth/refresh",
            "POST",
        ),
    ] {
        let answer = client.send(client.request(method.clone(), path)).await;

        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (405, "method_not_allowed"),
            "{method} {path}"
        );
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
        assert_eq!(answer.text("message"), format!("This path takes {allow}."));
    }
}

/// The answer to HEAD has no body; OPTIONS without an origin asks for the methods.
#[tokio::test]
async fn head_and_options_are_answered_as_their_path_is() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let send = async |method: Method, path: &str| {
        let response = client.request(method, path).send().await.unwrap();
        let allow = response.headers().get("allow").cloned();
        let allow = allow.map(|allow| allow.to_str().unwrap().to_owned());
        (response.status().as_u16(), allow)
    };

    assert_eq!(send(Method::HEAD, "/nothing").await, (404, None));
    assert_eq!(send(Method::OPTIONS, "/nothing").await, (404, None));
    let methods = Some("GET, PUT, DELETE".to_owned());
    let profile = send(Method::HEAD, "/api/auth/profile").await;
    assert_eq!(profile, (405, methods.clone()));
    let profile = send(Method::OPTIONS, "/api/auth/profile").await;
    assert_eq!(profile, (200, methods));
}

/// API Gateway passes preflights to the function of `$default`, if there is one. A browser would turn anything but a
/// success into a CORS error, for every endpoint.
#[tokio::test]
async fn a_preflight_that_reaches_the_function_is_a_success() {
    let Some(world) = World::inside() else { return };
    let mut event: Value = serde_json::from_str(include_str!("../events/not-found.json")).unwrap();
    for path in ["/api/auth/login", "/nothing"] {
        event["rawPath"] = json!(path);
        event["requestContext"]["http"]["path"] = json!(path);
        event["requestContext"]["http"]["method"] = json!("OPTIONS");
        event["headers"]["origin"] = json!("https://app.example.com");
        event["headers"]["access-control-request-method"] = json!("POST");

        let answer = world
            .local()
            .invoke("not-found", event.to_string().into())
            .await;

        let answer: Value = serde_json::from_slice(&answer.unwrap()).unwrap();
        assert_eq!(answer["statusCode"], 200, "{path}");
    }
}

/// A request for an unknown path stays cheap: nothing is counted, and no store is asked.
#[tokio::test]
async fn it_asks_neither_redis_nor_dynamodb() {
    let Some((world, proxy, _redis)) = World::build().behind_redis_proxy().await else {
        return;
    };
    proxy.set(harness::peers::Mode::Gone);
    let client = world.client();

    let answer = client.send(client.request(Method::GET, "/nothing")).await;

    assert_eq!(answer.status, 404);
    assert_eq!(answer.rate_limit(), None);
    let functions = template().functions.into_iter();
    let mut functions = functions.filter(|function| function.name == "not-found");
    let variables = functions.next().unwrap().variables;
    assert_eq!(variables.into_keys().collect::<Vec<_>>(), ["ENVIRONMENT"]);
}
