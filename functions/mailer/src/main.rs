//! DynamoDB stream → mail: sends each mail of the outbox once.
mod brand;
mod deliveries;
mod delivery;
mod folder;
mod handler;
mod layout;
mod mail_counts;
mod message;
mod sender;
mod ses;
mod smtp;
mod texts;
mod user_agent;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let app = handler::App::from_env()?; // names every missing variable at once
    shared::serve::lambda::serve_events(|event, _| handler::deliver(&app, event)).await
}
