//! SES events → suppression list: addresses that bounce, or whose owners complain, get no further mail.
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let app = handler::App::from_env()?; // names every missing variable at once
    shared::serve::lambda::serve_events(|event, _| handler::mark(&app, event)).await
}
