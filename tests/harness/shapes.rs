//! Checks answers against the OpenAPI document.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jsonschema::Validator;
use local::template::Route;
use serde_json::{Value, json};

/// A validator for each route and status with an answer in JSON, by the document's path, method and status.
static ANSWERS: LazyLock<BTreeMap<(String, String, u16), Validator>> = LazyLock::new(|| {
    let mut document = openapi_document::document();
    refuse_unknown_fields(&mut document["components"]["schemas"]);
    let mut validators = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let responses = operation["responses"].as_object().expect("responses");
            for (status, response) in responses {
                let mut schema = response["content"]["application/json"]["schema"].clone();
                if schema.is_null() {
                    continue;
                }
                schema["components"] = document["components"].clone();
                let validator = jsonschema::validator_for(&schema).expect("a schema");
                let status = status.parse().expect("a status");
                validators.insert((path.clone(), method.to_uppercase(), status), validator);
            }
        }
    }
    validators
});

/// Panics if the document does not describe the answer, or the answer has a field that the document does not have.
pub fn check(route: &Route, status: u16, body: &Value) {
    let Route { method, path, .. } = route;
    let validator = ANSWERS.get(&(path.clone(), method.clone(), status));
    let validator = validator
        .unwrap_or_else(|| panic!("docs/openapi.json: {method} {path} has no {status}: {body}"));
    if let Err(error) = validator.validate(body) {
        let at = error.instance_path();
        panic!("docs/openapi.json: {method} {path}, {status}: {error} at {at}: {body}");
    }
}

/// An answer may get new fields, so the document does not exclude them. Here each must be described.
fn refuse_unknown_fields(schemas: &mut Value) {
    match schemas {
        Value::Object(members) => {
            let is_object = members.get("properties").is_some_and(Value::is_object);
            if is_object && members.get("type") == Some(&json!("object")) {
                members.insert("additionalProperties".to_owned(), json!(false));
            }
            members.values_mut().for_each(refuse_unknown_fields);
        }
        Value::Array(items) => items.iter_mut().for_each(refuse_unknown_fields),
        _ => {}
    }
}
