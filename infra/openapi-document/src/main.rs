//! Prints the OpenAPI document, `cargo run --bin openapi-document > docs/openapi.json`, or with `--requests` the
//! collection of requests, `clients/gatehouse.http`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => print!("{}", openapi_document::written()),
        (Some("--requests"), None) => print!("{}", openapi_document::collection()),
        _ => {
            eprintln!("openapi-document [--requests]");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
