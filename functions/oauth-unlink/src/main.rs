//! `DELETE /api/auth/oauth/links/{provider}`: unlinks an identity of another provider.
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let app = handler::App::from_env()?; // names every missing variable at once
    shared::serve::serve_authenticated(&app.guard, |caller, request| {
        handler::unlink(&app, caller, request)
    })
    .await
}
