//! `POST /api/auth/oauth/login`: exchanges what another provider has said for a session.
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let app = handler::App::from_env()?; // names every missing variable at once
    shared::serve::serve_public(&app.guard, |request, limits| {
        handler::login(&app, request, limits)
    })
    .await
}
