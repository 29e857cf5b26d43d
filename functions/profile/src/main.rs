//! `GET and PUT /api/auth/profile`: show and change the caller's record.
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init();
    let config = handler::Config::from_env()?;
    let app = handler::App::new(config)?;
    shared::http::serve(|request| handler::profile(&app, request)).await
}
