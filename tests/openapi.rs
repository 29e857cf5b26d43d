//! The OpenAPI document. Every answer of every test is checked against it (`tests/harness/shapes.rs`).

use std::collections::BTreeSet;

use harness::template;
use harness::world::read;
use serde_json::{Value, json};

#[test]
fn the_document_in_the_repository_is_the_one_that_the_code_makes() {
    let made = openapi::text();
    let written = read("docs/openapi.json");
    assert!(
        made == written,
        "cargo run --bin openapi > docs/openapi.json"
    );
}

#[test]
fn every_route_is_described_and_no_other() {
    let document = openapi::document();
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            described.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let routes = template()
        .functions
        .into_iter()
        .flat_map(|function| function.routes);
    let routes = routes.filter(|route| !route.is_default());
    assert_eq!(described, routes.map(|route| route.key()).collect());
}

/// Clients name their functions after these.
#[test]
fn every_operation_has_an_identifier_of_its_own() {
    let document = openapi::document();
    let mut seen = BTreeSet::new();
    for methods in document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(seen.insert(id.to_owned()), "{id}");
        }
    }
}

/// Returns the schema with the document's definitions.
fn validator(document: &Value, schema: &Value) -> jsonschema::Validator {
    let mut schema = schema.clone();
    schema["components"] = document["components"].clone();
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn every_request_and_answer_has_an_example_that_is_valid() {
    let document = openapi::document();
    let mut examples = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap().values();
            for part in responses.chain(operation.get("requestBody")) {
                let content = &part["content"]["application/json"];
                if content.is_null() {
                    continue;
                }
                let validator = validator(&document, &content["schema"]);
                let named = content["examples"].as_object().into_iter().flatten();
                let named = named.map(|(_, example)| {
                    let reference = example["$ref"].as_str().unwrap();
                    document.pointer(&reference[1..]).unwrap()["value"].clone()
                });
                let all: Vec<Value> = named.chain(content.get("example").cloned()).collect();
                assert!(!all.is_empty(), "{method} {path}");
                for example in all {
                    let valid = validator
                        .validate(&example)
                        .map_err(|error| error.to_string());
                    assert_eq!(valid, Ok(()), "{method} {path}: {example}");
                    examples += 1;
                }
            }
        }
    }
    assert!(examples > 200, "{examples}");
}

/// The codes of the contract (docs/api.md), but those of paths and methods that no operation has.
#[test]
fn every_error_of_the_contract_belongs_to_an_operation() {
    let text = read("docs/api.md");
    let (_, table) = text.split_once("| status | codes |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let in_contract: BTreeSet<&str> = table.split('`').skip(1).step_by(2).collect();
    let operations = openapi::operations();
    let errors = operations.iter().flat_map(openapi::Operation::all_errors);
    let mut described: BTreeSet<&str> = errors.map(|(_, code)| code).collect();
    described.insert("method_not_allowed");
    assert_eq!(described, in_contract);
    assert_eq!(openapi::document()["openapi"], json!("3.1.0"));
}
