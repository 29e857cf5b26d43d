//! Prints the OpenAPI document, `cargo run --bin openapi-document > docs/openapi.json`, or with `--requests` the
//! collection of requests, `clients/gatehouse.http`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => print!("{}", openapi_document::written()),
        ["--requests"] => print!("{}", openapi_document::collection()),
        _ => {
            eprintln!("openapi-document [--requests]");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
