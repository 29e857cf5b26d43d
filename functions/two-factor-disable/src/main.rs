//! `POST /api/auth/2fa/disable`: stop using an authenticator app.
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let app = handler::app_from_env()?; // names every missing variable at once
    shared::http::serve(&app.guard, |request| handler::disable(&app, request)).await
}
