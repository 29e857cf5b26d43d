//! `GET` and `POST /api/auth/oauth/callback`: asks another provider who has signed in there, and sends the browser back
//! to the front end. It runs outside the network of the cache, as providers are in the internet.
mod client_secrets;
mod failure;
mod github;
mod handler;
mod http_client;
mod openid;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let app = handler::App::from_env()?; // names every missing variable at once
    shared::serve::serve_unlimited_within(handler::DEADLINE, |request| {
        handler::callback(&app, request)
    })
    .await
}
