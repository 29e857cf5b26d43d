//! `GET /errors` and `GET /errors/{code}`: explain the error codes.
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    shared::config::Environment::of_process().finish(())?;
    shared::serve::serve_unlimited(async |request| handler::errors(&request)).await
}
