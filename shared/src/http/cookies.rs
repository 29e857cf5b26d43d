//! The cookies of cookie mode. The prefix `__Host-` means: set by this host only, over TLS, for every path.

use std::time::Duration;

use cookie::{Cookie, SameSite};
use secrecy::{ExposeSecret, SecretString};

/// The refresh token's cookie.
pub const REFRESH_TOKEN: &str = "__Host-refresh_token";
/// The device token's cookie.
pub const DEVICE: &str = "__Host-device";

/// Returns a cookie with this token and lifetime.
pub fn set(name: &str, token: &SecretString, lifetime: Duration) -> String {
    cookie(name, token.expose_secret(), lifetime)
}

/// Returns a cookie that removes the one of this name.
pub fn remove(name: &str) -> String {
    cookie(name, "", Duration::ZERO)
}

/// Builds a cookie that scripts cannot read and other sites cannot send.
fn cookie(name: &str, value: &str, lifetime: Duration) -> String {
    let cookie = Cookie::build((name, value))
        .path("/")
        .secure(true)
        .http_only(true)
        .same_site(SameSite::Strict)
        .max_age(lifetime.try_into().unwrap_or(time::Duration::MAX));
    cookie.to_string()
}
