//! `POST /api/auth/verify-email/resend`: mail the link that proves an address once more.
mod handler;

fn main() -> Result<(), shared::StartError> {
    shared::runtime::start(env!("CARGO_CRATE_NAME"), async {
        let app = handler::App::from_env()?; // names every missing variable at once
        shared::http::serve(&app.links.guard, |request| handler::resend(&app, request)).await
    })
}
