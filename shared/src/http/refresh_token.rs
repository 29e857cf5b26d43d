//! The refresh token of a request: in its body, or else in a cookie.

use serde_json::Value;

use super::body::{LARGEST_BODY, Object};
use super::{Request, cookies};
use crate::domain::secret::Secret;
use crate::domain::token::{RefreshClaims, RefreshTokenVerifier, TokenError};

/// What the request's refresh token turns out to be, whether or not the rest of the request is valid. A
/// token in the body goes before one in a cookie. Asked once, at the door.
pub(super) fn verify(
    tokens: &RefreshTokenVerifier,
    request: &Request,
) -> Option<Result<RefreshClaims, TokenError>> {
    let token = in_body(request.body()).or_else(|| in_cookie(request))?;
    Some(tokens.verify(token.expose(), request.received_at()))
}

/// The cookie's.
fn in_cookie(request: &Request) -> Option<Secret> {
    let token = request.cookie(cookies::REFRESH_TOKEN)?;
    Some(Secret::new(token.to_owned()))
}

fn in_body(body: &[u8]) -> Option<Secret> {
    if body.len() > LARGEST_BODY {
        return None;
    }
    let Object(mut fields) = serde_json::from_slice(body).ok()?;
    match fields.remove("refreshToken")? {
        Value::String(token) => Some(Secret::new(token)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_body_by_example() {
        for (body, token) in [
            (r#" {"refreshToken":"x","other":[1]}"#, Some("x")),
            (r#"{"refresh\u0054oken":"a\u0062"}"#, Some("ab")),
            (r#"["x"]"#, None),
            (r#"{"refreshToken":"x","refreshToken":"y"}"#, None),
            (r#"{"refreshToken":null}"#, None),
            (r#"{"refreshToken":1}"#, None),
            (r#"{"refreshtoken":"x"}"#, None),
            ("", None),
        ] {
            let found = in_body(body.as_bytes());

            assert_eq!(found.as_ref().map(Secret::expose), token, "{body}");
        }
    }
}
