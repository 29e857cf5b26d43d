//! DynamoDB stream → mail: send what stands in the outbox, each mail once.
mod handler;
mod letter;
mod sender;
mod ses;
mod smtp;

fn main() -> Result<(), shared::StartError> {
    shared::runtime::start(env!("CARGO_CRATE_NAME"), async {
        let app = handler::App::from_env()?; // names every missing variable at once
        shared::runtime::run(|event| handler::deliver(&app, event)).await
    })
}
