//! `GET /.well-known/change-password`: redirects to the page where a user changes the password (W3C, "A Well-Known URL
//! for Changing Passwords").
mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let app = handler::App::from_env()?; // names every missing variable at once
    shared::serve::serve_unlimited(async |_| handler::change_password(&app)).await
}
