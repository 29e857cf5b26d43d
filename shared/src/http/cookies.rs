//! The cookies of cookie mode. `__Host-`: set by this host alone, over TLS, for every path.

use std::time::Duration;

use crate::domain::secret::Secret;

/// The refresh token's.
pub const REFRESH_TOKEN: &str = "__Host-refresh_token";
/// The device token's.
pub const DEVICE: &str = "__Host-device";

/// Out of reach for scripts and for requests from other sites.
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

/// A cookie that holds a token for this long.
pub fn set(name: &str, token: &Secret, lifetime: Duration) -> String {
    let (token, seconds) = (token.expose(), lifetime.as_secs());
    format!("{name}={token}; Max-Age={seconds}; {ATTRIBUTES}")
}

/// Ends a cookie.
pub fn remove(name: &str) -> String {
    format!("{name}=; Max-Age=0; {ATTRIBUTES}")
}
