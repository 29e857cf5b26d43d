//! `POST /api/auth/2fa/verify`: confirm an authenticator app, or renew the backup codes.
mod handler;

fn main() -> Result<(), shared::StartError> {
    shared::runtime::start(env!("CARGO_CRATE_NAME"), async {
        let app = handler::app_from_env()?; // names every missing variable at once
        shared::http::serve(&app.guard, |request| handler::verify(&app, request)).await
    })
}
