//! `GET /.well-known/jwks.json`: the public keys of access tokens (RFC 7517, 5). `GET
//! /.well-known/openid-configuration`: where they are (OpenID Connect Discovery 1.0, 4).
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let app = handler::App::from_env()?; // names every missing variable at once
    shared::serve::serve_unlimited(async |request| handler::jwks(&app, &request)).await
}
