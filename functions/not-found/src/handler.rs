use shared::error::ApiError;
use shared::http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use shared::http::{Method, Request, Response};

use crate::routes::ROUTES;

pub fn not_found(request: &Request) -> Result<Response, ApiError> {
    let is_options = request.method() == Method::OPTIONS;
    // API Gateway sends preflights to the function of `$default` and adds the CORS headers to its answer. The status
    // must be a success, or browsers refuse every request of a page on another origin.
    if is_options && is_preflight(request) {
        return Ok(Response::done("The headers say what is allowed."));
    }
    let mut routes = ROUTES.iter();
    match routes.find(|(path, _)| matches(path, request.path())) {
        Some((_, methods)) if is_options => {
            Ok(Response::done("The header Allow names the methods.").with_allow(methods))
        }
        Some((_, methods)) => Err(ApiError::MethodNotAllowed(methods)),
        None => Err(ApiError::UnknownPath(meant(request.path()))),
    }
}

/// Whether the request is a CORS preflight (Fetch Standard, 3.3.2, "CORS protocol: HTTP requests").
fn is_preflight(request: &Request) -> bool {
    let has = |name| request.header(name).is_some();
    has(&ORIGIN) && has(&ACCESS_CONTROL_REQUEST_METHOD)
}

fn matches(route: &str, path: &str) -> bool {
    are_alike(route.split('/'), path.split('/'), |a, b| a == b)
}

/// Returns the path that differs only in case or in slashes, at the end for instance.
fn meant(path: &str) -> Option<&'static str> {
    let named = |path: &'static str| path.split('/').filter(|part| !part.is_empty());
    let given = || path.split('/').filter(|part| !part.is_empty());
    let mut paths = ROUTES.iter().map(|(path, _)| *path);
    paths.find(|route| are_alike(named(route), given(), str::eq_ignore_ascii_case))
}

fn are_alike<'a>(
    mut route: impl Iterator<Item = &'a str>,
    mut path: impl Iterator<Item = &'a str>,
    is_same: impl Fn(&str, &str) -> bool,
) -> bool {
    loop {
        match (route.next(), path.next()) {
            (None, None) => return true,
            (Some(part), Some(given)) => {
                let is_parameter = part.starts_with('{') && !given.is_empty();
                if !is_parameter && !is_same(part, given) {
                    return false;
                }
            }
            _ => return false,
        }
    }
}
