//! `POST /api/auth/password-reset/request`: mail a link that allows to set a new password.
mod handler;

fn main() -> Result<(), shared::StartError> {
    shared::runtime::start(env!("CARGO_CRATE_NAME"), async {
        let app = handler::App::from_env()?; // names every missing variable at once
        shared::http::serve(&app.links.guard, |request| {
            handler::request_reset(&app, request)
        })
        .await
    })
}
