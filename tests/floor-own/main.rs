//! The floor by the loop that the functions have in place of AWS' crate: how much of what they are below it
//! is the loop's. For benchmarks alone.

use serde_json::{Value, json};

fn main() -> Result<(), shared::StartError> {
    shared::runtime::start(env!("CARGO_CRATE_NAME"), async {
        let hello = async |_: Value| Ok(json!({ "statusCode": 200, "body": "hello" }));
        shared::runtime::run(hello).await
    })
}
