//! SES events → marked addresses: what bounces, or complains, gets no further mail.
mod handler;

fn main() -> Result<(), shared::StartError> {
    shared::runtime::start(env!("CARGO_CRATE_NAME"), async {
        let app = handler::App::from_env()?; // names every missing variable at once
        shared::runtime::run(|event| handler::mark(&app, event)).await
    })
}
