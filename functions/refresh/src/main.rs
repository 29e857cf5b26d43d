//! `POST /api/auth/refresh`: exchange a refresh token for its successor.
mod handler;

fn main() -> Result<(), shared::StartError> {
    shared::runtime::start(env!("CARGO_CRATE_NAME"), async {
        let app = handler::App::from_env()?; // names every missing variable at once
        shared::http::serve(&app.guard, |request| handler::refresh(&app, request)).await
    })
}
