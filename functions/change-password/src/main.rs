//! `POST /api/auth/change-password`: change the password of somebody who is signed in.
mod handler;

fn main() -> Result<(), shared::StartError> {
    shared::runtime::start(env!("CARGO_CRATE_NAME"), async {
        let app = handler::App::from_env()?; // names every missing variable at once
        shared::http::serve(&app.guard, |request| {
            handler::change_password(&app, request)
        })
        .await
    })
}
