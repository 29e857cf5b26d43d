//! `POST /api/auth/revoke`: ends the session of a token (RFC 7009), for services.
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let app = handler::App::from_env()?; // names every missing variable at once
    // A service makes many requests from one address. Without its secret, a request reaches no store.
    shared::serve::serve_unlimited(|request| handler::revoke(&app, request)).await
}
