//! The cookies of cookie mode. `__Host-`: set by this host alone, over TLS, for every path.

use std::time::Duration;

use cookie::{Cookie, SameSite};
use secrecy::{ExposeSecret, SecretString};

/// The refresh token's.
pub const REFRESH_TOKEN: &str = "__Host-refresh_token";
/// The device token's.
pub const DEVICE: &str = "__Host-device";

/// A cookie that holds a token for this long.
pub fn set(name: &str, token: &SecretString, lifetime: Duration) -> String {
    cookie(name, token.expose_secret(), lifetime)
}

/// Ends a cookie.
pub fn remove(name: &str) -> String {
    cookie(name, "", Duration::ZERO)
}

/// Out of reach for scripts and for requests from other sites.
fn cookie(name: &str, value: &str, lifetime: Duration) -> String {
    let cookie = Cookie::build((name, value))
        .path("/")
        .secure(true)
        .http_only(true)
        .same_site(SameSite::Strict)
        .max_age(lifetime.try_into().unwrap_or(time::Duration::MAX));
    cookie.to_string()
}
