//! `GET /api/auth/oauth/links/{provider}/tokens`: the tokens for a provider's own API, if they are kept.
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let app = handler::App::from_env()?; // names every missing variable at once
    shared::serve::serve_authenticated(&app.guard, |caller, request| {
        handler::tokens(&app, caller, request)
    })
    .await
}
