//! A Lambda authorizer for the APIs of other stacks: lets a request through if its access token and the session behind
//! it are valid, and tells the function behind the API who asks.
mod event;
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let app = handler::App::from_env()?; // names every missing variable at once
    shared::serve::lambda::serve_events(|event, context| handler::authorize(&app, event, context))
        .await
}
