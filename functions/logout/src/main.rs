//! `POST /api/auth/logout`: ends the caller's session, or all of them.
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let app = handler::App::from_env()?; // names every missing variable at once
    shared::serve::serve_session(&app.guard, |token, request, limits| {
        handler::logout(&app, token, request, limits)
    })
    .await
}
