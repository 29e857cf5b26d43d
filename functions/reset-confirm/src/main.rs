//! `POST /api/auth/password-reset/confirm`: sets a new password with the token of a mailed link.
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let app = handler::App::from_env()?; // names every missing variable at once
    shared::serve::serve_public(&app.guard, |request, _| {
        handler::confirm_reset(&app, request)
    })
    .await
}
