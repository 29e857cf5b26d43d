//! `POST /api/auth/login`: exchange an identifier and a password for a session.
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init();
    let config = handler::Config::from_env()?;
    let app = handler::App::new(config)?;
    shared::http::serve(|request| handler::login(&app, request)).await
}
