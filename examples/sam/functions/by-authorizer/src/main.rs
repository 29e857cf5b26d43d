//! `GET /by-authorizer`: the caller, as Gatehouse's Lambda authorizer hands it on. A logout counts at once.

use lambda_http::{Error, Request, RequestExt, run, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(by_authorizer)).await
}

async fn by_authorizer(request: Request) -> Result<Value, Error> {
    let context = request.request_context();
    let authorizer = context.authorizer().ok_or("no authorizer")?;
    let user = authorizer.fields.get("userId").ok_or("no user")?;
    Ok(json!({ "user": user, "role": authorizer.fields.get("role") }))
}
