//! `GET /by-token`: the caller, as API Gateway's JWT authorizer hands it on. A token counts until it expires.

use lambda_http::{Error, Request, RequestExt, run, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(by_token)).await
}

async fn by_token(request: Request) -> Result<Value, Error> {
    let context = request.request_context();
    let authorizer = context.authorizer().ok_or("no authorizer")?;
    let claims = &authorizer.jwt.as_ref().ok_or("no token")?.claims;
    let user = claims.get("sub").ok_or("no user")?;
    Ok(json!({ "user": user, "role": claims.get("role") }))
}
