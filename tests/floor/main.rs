//! A function that does nothing, by the same runtime and with the same profile as the others: what no
//! function can be below. For benchmarks alone.

use std::convert::Infallible;

use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let hello = |_event: LambdaEvent<Value>| async {
        Ok::<_, Infallible>(json!({ "statusCode": 200, "body": "hello" }))
    };
    lambda_runtime::run(service_fn(hello)).await
}
