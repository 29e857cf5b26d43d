//! `POST /api/auth/login`: exchanges an identifier and a password for a session.
mod account;
mod app;
mod failures;
mod handler;
mod password;
mod request;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let app = app::App::from_env()?; // names every missing variable at once
    shared::serve::serve_public(&app.guard, |request, limits| {
        handler::login(&app, request, limits)
    })
    .await
}
