//! `POST /api/auth/password-reset/confirm`: set a new password by a mailed link.
mod handler;

fn main() -> Result<(), shared::StartError> {
    shared::runtime::start(env!("CARGO_CRATE_NAME"), async {
        let app = handler::App::from_env()?; // names every missing variable at once
        shared::http::serve(&app.guard, |request| handler::confirm_reset(&app, request)).await
    })
}
