//! `POST /api/auth/logout`: end the caller's session, or all of them.
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init();
    let config = handler::Config::from_env()?;
    let app = handler::App::new(config)?;
    shared::http::serve(|request| handler::logout(&app, request)).await
}
