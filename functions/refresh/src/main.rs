//! `POST /api/auth/refresh`: exchanges a refresh token for its successor.
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let app = handler::App::from_env()?; // names every missing variable at once
    shared::serve::serve_session(&app.guard, |token, request, limits| {
        handler::refresh(&app, token, request, limits)
    })
    .await
}
