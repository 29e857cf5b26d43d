//! `POST /api/auth/logout`: end the caller's session, or all of them.
mod handler;

fn main() -> Result<(), shared::StartError> {
    shared::runtime::start(env!("CARGO_CRATE_NAME"), async {
        let app = handler::App::from_env()?; // names every missing variable at once
        shared::http::serve(&app.guard, |request| handler::logout(&app, request)).await
    })
}
