//! `GET /by-crate`: the caller, verified by the function itself with Gatehouse's crate. A logout counts at once.

use serde::Serialize;
use shared::auth::authentication::Caller;
use shared::config::Environment;
use shared::domain::user::Role;
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::serve::AuthenticatedGuard;

#[derive(Serialize)]
struct Who {
    user: String,
    role: Role,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let mut environment = Environment::of_process();
    let guard = AuthenticatedGuard::from_env(&mut environment, None);
    let guard = environment.finish(guard)?;
    shared::serve::serve_authenticated(&guard, by_crate).await
}

async fn by_crate(caller: Caller, _: Request) -> Result<Response, ApiError> {
    let (user, role) = (caller.user.id.to_string(), caller.user.role);
    Ok(Response::ok("You are signed in.", Who { user, role }))
}
