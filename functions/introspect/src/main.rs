//! `POST /api/auth/introspect`: says whether an access token is valid, and what it says (RFC 7662), to services that ask
//! instead of verifying it.
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let app = handler::App::from_env()?; // names every missing variable at once
    // A service makes many requests from one address. Without its secret, a request reaches no store.
    shared::serve::serve_unlimited(|request| handler::introspect(&app, request)).await
}
