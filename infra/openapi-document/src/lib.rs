//! The OpenAPI 3.1 document and a collection of requests, made from the types of the contract (`shared::api`).

use std::collections::BTreeMap;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use shared::api::Failure;

mod operations;
mod requests;

pub use operations::{Answer, Body, Operation, Security, operations};
pub use requests::collection;

/// The errors of every operation.
const OF_ALL: [(u16, &str); 4] = [
    (403, "forbidden"),
    (429, "rate_limited"),
    (500, "internal_error"),
    (503, "service_unavailable"),
];
/// The errors of an operation with a JSON body.
const OF_JSON: [(u16, &str); 4] = [
    (400, "malformed_json"),
    (400, "validation_failed"),
    (413, "payload_too_large"),
    (415, "unsupported_media_type"),
];
/// The errors of an operation for signed-in users.
const OF_ACCESS_TOKEN: [(u16, &str); 4] = [
    (401, "missing_token"),
    (401, "invalid_token"),
    (401, "token_expired"),
    (401, "token_revoked"),
];
/// The errors of an operation for services.
const OF_SERVICE: [(u16, &str); 3] = [
    (400, "invalid_request"),
    (401, "invalid_client"),
    (413, "payload_too_large"),
];

/// The group of the paths that lead to the operation of another path.
const OTHER_PATHS: &str = "Other paths";

const INTRODUCTION: &str = "\
JSON in, JSON out. Success is `{ \"success\": true, \"message\": … }` with the fields of the operation. Failure is \
`{ \"success\": false, \"error\": code, \"message\": …, \"docs\": …, \"requestId\": … }`, with `details` for invalid \
fields, and `limit` and `retryAfter` with 429.";

/// Returns the document as it is written in `docs/openapi.json`.
pub fn written() -> String {
    format!("{:#}\n", document())
}

/// Returns the document.
pub fn document() -> Value {
    let mut schemas = Schemas::new();
    let failure = schemas.answers.subschema_for::<Failure>();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in operations() {
        for (number, path) in operation.paths.iter().enumerate() {
            let described = schemas.operation(&operation, path, number, failure.as_value());
            let methods = paths.entry(path).or_default();
            methods.insert(operation.method.to_owned(), described);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Gatehouse",
            "version": env!("CARGO_PKG_VERSION"),
            "description": INTRODUCTION,
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "/" }],
        "tags": tags(),
        "paths": paths,
        "components": {
            "schemas": schemas.definitions(),
            "examples": failures(),
            "securitySchemes": security_schemes(),
        },
    })
}

/// Returns the groups in the order of their first operations.
fn tags() -> Vec<Value> {
    let mut names: Vec<&str> = Vec::new();
    for operation in operations() {
        if !names.contains(&operation.tag) {
            names.push(operation.tag);
        }
    }
    names.push(OTHER_PATHS);
    let tags = names.iter().map(|name| json!({ "name": name }));
    tags.collect()
}

fn security_schemes() -> Value {
    json!({
        "accessToken": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
        "refreshCookie": {
            "type": "apiKey", "in": "cookie", "name": "__Host-refresh_token",
            "description": "In cookie mode, with the header X-CSRF-Token and an allowed Origin.",
        },
        "service": { "type": "http", "scheme": "basic" },
    })
}

impl Security {
    fn requirements(self) -> Value {
        match self {
            Self::Public => json!([]),
            Self::AccessToken => json!([{ "accessToken": [] }]),
            // Or the refresh token in the body.
            Self::MaybeAccessToken => json!([{}, { "accessToken": [] }]),
            Self::RefreshToken => json!([{}, { "refreshCookie": [] }]),
            Self::AnyToken => json!([{ "accessToken": [] }, {}, { "refreshCookie": [] }]),
            Self::Cookie => json!([{ "refreshCookie": [] }]),
            Self::Service => json!([{ "service": [] }]),
        }
    }
}

impl Operation {
    /// Returns all codes of errors with their statuses.
    pub fn all_errors(&self) -> Vec<(u16, &'static str)> {
        let mut errors = OF_ALL.to_vec();
        if let Body::Required(..) | Body::Optional(..) = self.body {
            errors.extend(OF_JSON);
        }
        match self.security {
            Security::AccessToken => errors.extend(OF_ACCESS_TOKEN),
            Security::Service => errors.extend(OF_SERVICE),
            _ => {}
        }
        errors.extend(self.errors);
        errors.sort_unstable();
        errors
    }

    fn parameters(&self, path: &str) -> Vec<Value> {
        let header = |name: &str, description: &str, schema: Value| json!({ "name": name, "in": "header", "description": description, "schema": schema });
        let mut parameters = Vec::new();
        let (_, name) = path.split_once('{').unwrap_or_default();
        if let Some((name, _)) = name.split_once('}') {
            let schema = json!({ "type": "string" });
            parameters
                .push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
        }
        if ["register", "login", "refresh"].contains(&self.id) {
            let schema = json!({ "type": "string", "enum": ["body", "cookie"] });
            let text = "With cookie, the tokens that scripts must not read become cookies.";
            parameters.push(header("X-Token-Transport", text, schema));
        }
        let device_token = match self.id {
            "login" => Some("The device token: failures of this device are counted by themselves."),
            "verifyEmail" => Some("The account's device token, as a proof."),
            _ => None,
        };
        if let Some(text) = device_token {
            parameters.push(header("X-Device-Token", text, json!({ "type": "string" })));
        }
        if let Security::RefreshToken | Security::AnyToken = self.security {
            let text = "The CSRF token; needed with the cookie.";
            parameters.push(header("X-CSRF-Token", text, json!({ "type": "string" })));
        }
        parameters
    }
}

/// The schemas of requests and answers. A type may look different in both, so each has a generator.
struct Schemas {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = || {
            let mut settings = SchemaSettings::draft2020_12();
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
            settings
        };
        Self {
            requests: settings().for_deserialize().into_generator(),
            answers: settings().for_serialize().into_generator(),
        }
    }

    fn definitions(mut self) -> Map<String, Value> {
        let mut definitions = self.requests.take_definitions(true);
        definitions.extend(self.answers.take_definitions(true));
        definitions
    }

    fn operation(
        &mut self,
        operation: &Operation,
        path: &str,
        number: usize,
        failure: &Value,
    ) -> Value {
        let mut described = json!({
            "operationId": id(operation, path, number),
            "summary": operation.summary,
            "tags": [if number == 0 { operation.tag } else { OTHER_PATHS }],
            "security": operation.security.requirements(),
            "responses": self.responses(operation, failure),
        });
        if number > 0 {
            let first = operation.paths[0];
            described["description"] = json!(format!("Another path of `{first}`."));
        }
        let parameters = operation.parameters(path);
        if !parameters.is_empty() {
            described["parameters"] = json!(parameters);
        }
        if let Some(body) = self.body(&operation.body) {
            described["requestBody"] = body;
        }
        described
    }

    fn body(&mut self, body: &Body) -> Option<Value> {
        let mut json = |schema: operations::SchemaOf, example: &Value, required: bool| {
            let schema = schema(&mut self.requests);
            let content = json!({ "application/json": { "schema": schema, "example": example } });
            json!({ "required": required, "content": content })
        };
        match body {
            Body::None => None,
            Body::Required(schema, example) => Some(json(*schema, example, true)),
            Body::Optional(schema, example) => Some(json(*schema, example, false)),
            Body::Form => {
                let schema = json!({
                    "type": "object", "required": ["token"],
                    "properties": { "token": { "type": "string" }, "token_type_hint": { "type": "string" } },
                });
                let content = json!({ "application/x-www-form-urlencoded": { "schema": schema } });
                Some(json!({ "required": true, "content": content }))
            }
        }
    }

    fn responses(&mut self, operation: &Operation, failure: &Value) -> Value {
        let mut responses = Map::new();
        let (status, response) = self.success(operation);
        responses.insert(status.to_string(), response);
        let mut codes: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for (status, code) in operation.all_errors() {
            codes.entry(status).or_default().push(code);
        }
        for (status, codes) in codes {
            responses.insert(status.to_string(), failed(status, &codes, failure));
        }
        Value::Object(responses)
    }

    fn success(&mut self, operation: &Operation) -> (u16, Value) {
        let json = |schema: Value, example: &Value| {
            json!({
                "description": "Success.",
                "content": { "application/json": { "schema": schema, "example": example } },
            })
        };
        match &operation.answer {
            Answer::Json(status, schema, example) => {
                let schema = schema(&mut self.answers).to_value();
                (*status, json(schema, example))
            }
            Answer::Standard(schema, example) => (200, json(schema.clone(), example)),
            Answer::Page => (200, text("The page.", &["text/html"])),
            Answer::Files(types) => (200, text("The file.", types)),
            Answer::Redirect(status) => {
                let location = json!({ "schema": { "type": "string", "format": "uri" } });
                let headers = json!({ "Location": location });
                (
                    *status,
                    json!({ "description": "The page is there.", "headers": headers }),
                )
            }
        }
    }
}

/// Describes an answer that is a text of one of these types.
fn text(description: &str, types: &[&str]) -> Value {
    let content = types.iter().map(|media_type| {
        let schema = json!({ "schema": { "type": "string" } });
        ((*media_type).to_owned(), schema)
    });
    let content: Map<String, Value> = content.collect();
    json!({ "description": description, "content": content })
}

/// Returns the identifier; that of another path is made of its words.
fn id(operation: &Operation, path: &str, number: usize) -> String {
    let words: Vec<&str> = path
        .split(['/', '-'])
        .filter(|word| !word.is_empty())
        .collect();
    match number {
        0 => operation.id.to_owned(),
        _ => format!("{}_{}", operation.id, words.join("_")),
    }
}

/// Describes the failures with this status.
fn failed(status: u16, codes: &[&str], failure: &Value) -> Value {
    let examples = codes.iter().map(|code| {
        let example = format!("#/components/examples/{}", example_name(status, code));
        ((*code).to_owned(), json!({ "$ref": example }))
    });
    let examples: Map<String, Value> = examples.collect();
    let schema = json!({ "allOf": [failure, { "properties": { "error": { "enum": codes } } }] });
    let described: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
    let mut response = json!({
        "description": described.join(", "),
        "content": { "application/json": { "schema": schema, "examples": examples } },
    });
    match status {
        401 => {
            response["headers"] = json!({ "WWW-Authenticate": { "schema": { "type": "string" } } });
        }
        429 | 503 => {
            response["headers"] = json!({ "Retry-After": { "schema": { "type": "integer" } } });
        }
        _ => {}
    }
    response
}

/// Some codes have another status for a signed-in user.
fn example_name(status: u16, code: &str) -> String {
    format!("{code}_{status}")
}

/// Returns an example for each failure.
fn failures() -> Map<String, Value> {
    let mut examples = Map::new();
    for (status, code) in operations().iter().flat_map(Operation::all_errors) {
        let mut example = json!({
            "success": false, "error": code, "message": "A sentence for people.",
            "docs": format!("/errors/{code}"), "requestId": "JKJaXmPLvHcESHA=",
        });
        match status {
            429 => {
                example["limit"] = json!("login");
                example["retryAfter"] = json!(60);
            }
            503 => example["retryAfter"] = json!(5),
            _ => {}
        }
        if code == "validation_failed" {
            let broken = json!({ "field": "password", "code": "missing_digit", "message": "must contain a digit" });
            example["details"] = json!([broken]);
        }
        examples.insert(example_name(status, code), json!({ "value": example }));
    }
    examples
}
