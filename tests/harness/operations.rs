//! The operations of the API, from the routes of the template.

use std::sync::LazyLock;

use local::template::Route;
use reqwest::Method;

use crate::workspace::template;

/// Every route of the template with its operation: its function and method. Aliases have the same operation.
pub static OPERATIONS: LazyLock<Vec<(Route, String)>> = LazyLock::new(|| {
    let functions = template().functions.into_iter();
    let routes = functions.flat_map(|function| {
        let name = function.name;
        let routes = function.routes.into_iter();
        routes.map(move |route| {
            let operation = match (name.as_str(), route.path.as_str()) {
                ("passkey-login" | "passkey-register", path) if path.ends_with("/options") => {
                    format!("{name}/options")
                }
                ("refresh", "/api/auth/csrf-token") => "csrf-token".to_owned(),
                ("sessions", path) if path.ends_with("{id}") => "sessions/{id}".to_owned(),
                ("not-found" | "errors" | "jwks" | "introspect" | "openapi" | "revoke", _) => {
                    name.clone()
                }
                _ => format!("{} {name}", route.method),
            };
            (route, operation)
        })
    });
    routes.collect()
});

/// Returns the route of a request, if it has one of its own.
pub fn route(method: &Method, path: &str) -> Option<&'static Route> {
    let matches = |route: &Route| {
        let (route_parts, parts) = (route.path.split('/'), path.split('/'));
        let is_part = |(route, part): (&str, &str)| route.starts_with('{') || route == part;
        route.method == method.as_str()
            && route_parts.clone().count() == parts.clone().count()
            && route_parts.zip(parts).all(is_part)
    };
    let mut routes = OPERATIONS.iter().map(|(route, _)| route);
    routes.find(|route| matches(route))
}
