//! The refresh token of a request: in its body, or else in a cookie.

use std::borrow::Cow;

use serde::Deserialize;

use super::body::LARGEST_BODY;
use super::{Request, cookies};
use crate::domain::secret::Secret;
use crate::domain::token::{RefreshClaims, RefreshTokenVerifier, TokenError};

/// What the request's refresh token turns out to be, whether or not the rest of the request is valid. A
/// token in the body goes before one in a cookie. Asked once, at the door.
pub(super) fn verify(
    tokens: &RefreshTokenVerifier,
    request: &Request,
) -> Option<Result<RefreshClaims, TokenError>> {
    let token = in_body(request).or_else(|| in_cookie(request))?;
    Some(tokens.verify(token.expose(), request.received_at()))
}

/// The cookie's.
fn in_cookie(request: &Request) -> Option<Secret> {
    let token = request.cookie(cookies::REFRESH_TOKEN)?;
    Some(Secret::new(token.to_owned()))
}

/// As much of a body as is asked for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow)]
    refresh_token: Cow<'a, str>,
}

fn in_body(request: &Request) -> Option<Secret> {
    if request.body().len() > LARGEST_BODY {
        return None;
    }
    let body: Body = serde_json::from_slice(request.body()).ok()?;
    Some(Secret::new(body.refresh_token.into_owned()))
}
