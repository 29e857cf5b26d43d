//! The paths of the API.

/// Every path with its methods, as `infra/functions.yaml` has them; `tests/not-found.rs` compares.
pub const ROUTES: &[(&str, &str)] = &[
    ("/.well-known/change-password", "GET"),
    ("/api/auth/2fa/disable", "POST"),
    ("/api/auth/2fa/setup", "POST"),
    ("/api/auth/2fa/verify", "POST"),
    ("/api/auth/change-password", "POST"),
    ("/api/auth/forgot-password", "POST"),
    ("/api/auth/login", "POST"),
    ("/api/auth/logout", "POST"),
    ("/api/auth/me", "GET"),
    ("/api/auth/password-reset/confirm", "POST"),
    ("/api/auth/password-reset/request", "POST"),
    ("/api/auth/profile", "GET, PUT, DELETE"),
    ("/api/auth/refresh", "POST"),
    ("/api/auth/register", "POST"),
    ("/api/auth/reset-password", "POST"),
    ("/api/auth/sessions", "GET, DELETE"),
    ("/api/auth/sessions/{id}", "DELETE"),
    ("/api/auth/signup", "POST"),
    ("/api/auth/verify-email", "POST"),
    ("/api/auth/verify-email/resend", "POST"),
    ("/forgot-password", "POST"),
    ("/me", "GET"),
    ("/reset-password", "POST"),
    ("/signup", "POST"),
];
