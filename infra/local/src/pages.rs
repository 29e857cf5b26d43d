//! The pages under `/_local`: an inbox, and what the links in its mails lead to. They are plain files
//! that speak to the API as any frontend does; opening one changes nothing.

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};

/// `/_local/`.
pub async fn inbox() -> Response<Body> {
    page(include_str!("../pages/inbox.html"))
}

/// `/_local/reset-password`.
pub async fn reset_password() -> Response<Body> {
    page(include_str!("../pages/reset-password.html"))
}

/// `/_local/verify-email`.
pub async fn verify_email() -> Response<Body> {
    page(include_str!("../pages/verify-email.html"))
}

fn page(html: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(html));
    let headers = response.headers_mut();
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, html);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
