//! `POST /api/auth/login`: exchange an identifier and a password for a session.
mod account;
mod handler;
mod sign_in;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let app = handler::App::from_env()?; // names every missing variable at once
    shared::http::serve(&app.guard, |request| handler::login(&app, request)).await
}
