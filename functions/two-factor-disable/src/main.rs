//! `POST /api/auth/2fa/disable`: stop using an authenticator app.
mod handler;

fn main() -> Result<(), shared::StartError> {
    shared::runtime::start(env!("CARGO_CRATE_NAME"), async {
        let app = handler::app_from_env()?; // names every missing variable at once
        shared::http::serve(&app.guard, |request| handler::disable(&app, request)).await
    })
}
