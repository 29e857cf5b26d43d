//! `GET` and `DELETE /api/auth/sessions`: where the caller is signed in, and ending it there.
mod handler;

fn main() -> Result<(), shared::StartError> {
    shared::runtime::start(env!("CARGO_CRATE_NAME"), async {
        let app = handler::App::from_env()?; // names every missing variable at once
        shared::http::serve(&app.guard, |request| handler::sessions(&app, request)).await
    })
}
