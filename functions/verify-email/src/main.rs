//! `POST /api/auth/verify-email`: prove an address by a mailed link, or reject the account.
mod handler;

fn main() -> Result<(), shared::StartError> {
    shared::runtime::start(env!("CARGO_CRATE_NAME"), async {
        let app = handler::App::from_env()?; // names every missing variable at once
        shared::http::serve(&app.guard, |request| handler::verify_email(&app, request)).await
    })
}
