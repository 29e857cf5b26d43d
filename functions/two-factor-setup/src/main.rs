//! `POST /api/auth/2fa/setup`: begin to use an authenticator app.
mod handler;

fn main() -> Result<(), shared::StartError> {
    shared::runtime::start(env!("CARGO_CRATE_NAME"), async {
        let app = handler::App::from_env()?; // names every missing variable at once
        shared::http::serve(&app.parts.guard, |request| handler::set_up(&app, request)).await
    })
}
