//! `POST /api/auth/2fa/undo`: removes the second factor with the token of the mail about it.
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let app = handler::App::from_env()?; // names every missing variable at once
    shared::serve::serve_public(&app.guard, |request, _| handler::undo(&app, request)).await
}
