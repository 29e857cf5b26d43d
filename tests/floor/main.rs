//! A function that does nothing, with AWS' crate and the same build profile as the others: the lower bound that they
//! are compared with. For benchmarks only.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let hello =
        async |_: LambdaEvent<Value>| Ok::<_, Error>(json!({ "statusCode": 200, "body": "hello" }));
    lambda_runtime::run(service_fn(hello)).await
}
