//! `POST /api/auth/oauth/start`: begins a sign-in with another provider.
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let app = handler::App::from_env()?; // names every missing variable at once
    shared::serve::serve_public(&app.guard, |request, _| handler::start(&app, request)).await
}
