//! Prints the OpenAPI document: `cargo run --bin openapi-document > docs/openapi.json`.

fn main() {
    print!("{}", openapi_document::written());
}
