//! `DELETE /api/auth/profile`: delete the caller's account.
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init();
    let config = handler::Config::from_env()?;
    let app = handler::App::new(config)?;
    shared::http::serve(|request| handler::delete_account(&app, request)).await
}
