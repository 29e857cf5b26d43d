//! A function for tests only, with one endpoint for signed-in users and one for admins.

use serde::Serialize;
use shared::auth::authentication::Caller;
use shared::config::Environment;
use shared::domain::user::Role;
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::serve::AuthenticatedGuard;

#[derive(Serialize)]
struct Who {
    who: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::StartError> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    let mut environment = Environment::of_process();
    let guard = AuthenticatedGuard::from_env(&mut environment, None);
    let guard = environment.finish(guard)?;
    shared::serve::serve_authenticated(&guard, async |caller, request| answer(&caller, &request))
        .await
}

fn answer(caller: &Caller, request: &Request) -> Result<Response, ApiError> {
    match request.path_parameter("what").unwrap_or_default() {
        "required" => {}
        "admin" => caller.require_role(Role::Admin)?,
        _ => return Err(ApiError::NotFound),
    }
    let who = caller.user.id.to_string();
    Ok(Response::ok("Hello.", Who { who }))
}
