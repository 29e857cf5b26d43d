//! DynamoDB stream → mail: send what stands in the outbox, each mail once.
mod handler;
mod letter;
mod sender;
mod ses;
mod smtp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let app = handler::App::from_env()?; // names every missing variable at once
    shared::lambda::serve_events(|event| handler::deliver(&app, event)).await
}
