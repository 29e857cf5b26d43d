//! The floor as the functions are: by their loop in place of AWS' crate, with their log and their allocator. How much
//! of what they are below the floor is due to these. For benchmarks alone.

use serde_json::{Value, json};

fn main() -> Result<(), shared::StartError> {
    shared::runtime::start(env!("CARGO_CRATE_NAME"), async {
        let hello = async |_: Value| Ok(json!({ "statusCode": 200, "body": "hello" }));
        shared::runtime::run(hello).await
    })
}
