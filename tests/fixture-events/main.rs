//! A function for tests only, whose events are not HTTP requests.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    shared::serve::lambda::serve_events(|event, _| answer(event)).await
}

async fn answer(event: String) -> Result<String, String> {
    match event.as_str() {
        "panic" => panic!("with a secret: {event}"),
        _ => Ok(event),
    }
}
