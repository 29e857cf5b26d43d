//! `GET /api/auth/openapi.json`: the contract as an OpenAPI 3.1 document. `GET /api/auth/docs`: a page that shows it.
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    shared::config::Environment::of_process().finish(())?;
    let app = handler::App::new()?;
    shared::serve::serve_unlimited(async |request| handler::openapi(&app, &request)).await
}
