//! Prints the OpenAPI document: `cargo run --bin openapi > docs/openapi.json`.

fn main() {
    print!("{}", openapi::text());
}
