//! `POST /api/auth/register`: make an account and sign it in.
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init();
    let config = handler::Config::from_env()?;
    let app = handler::App::new(config)?;
    shared::http::serve(|request| handler::register(&app, request)).await
}
