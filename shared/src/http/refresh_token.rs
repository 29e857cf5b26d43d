//! The refresh token of a request: in its body, or else in a cookie.

use serde_json::Value;

use super::body::LARGEST_BODY;
use super::{Request, cookies};
use crate::domain::secret::Secret;

/// What a request presents, whether or not the rest of it is valid.
pub fn presented(request: &Request) -> Option<Secret> {
    in_body(request).or_else(|| in_cookie(request))
}

/// The cookie's.
pub fn in_cookie(request: &Request) -> Option<Secret> {
    let token = request.cookie(cookies::REFRESH_TOKEN)?;
    Some(Secret::new(token.to_owned()))
}

fn in_body(request: &Request) -> Option<Secret> {
    if request.body().len() > LARGEST_BODY {
        return None;
    }
    let body: Value = serde_json::from_slice(request.body()).ok()?;
    Some(Secret::new(body["refreshToken"].as_str()?.to_owned()))
}
