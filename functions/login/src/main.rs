//! `POST /api/auth/login`: exchange an identifier and a password for a session.
mod account;
mod handler;
mod sign_in;

fn main() -> Result<(), shared::StartError> {
    shared::runtime::start(env!("CARGO_CRATE_NAME"), async {
        let app = handler::App::from_env()?; // names every missing variable at once
        shared::http::serve(&app.guard, |request| handler::login(&app, request)).await
    })
}
