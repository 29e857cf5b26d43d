//! `$default`: answers requests that no other route takes, in the shape of all answers.
mod handler;
mod routes;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    shared::config::Environment::of_process().finish(())?;
    shared::serve::serve_unlimited(async |request| handler::not_found(&request)).await
}
