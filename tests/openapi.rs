//! The OpenAPI document. Every answer of every test is checked against it (`tests/harness/shapes.rs`).

use std::collections::{BTreeMap, BTreeSet};

use harness::browser::Browser;
use harness::world::read;
use harness::{World, template};
use reqwest::Method;
use serde_json::{Value, json};

#[test]
fn the_document_in_the_repository_is_the_one_that_the_code_makes() {
    let made = openapi_document::written();
    let written = read("docs/openapi.json");
    assert!(
        made == written,
        "cargo run --bin openapi-document > docs/openapi.json"
    );
}

#[test]
fn the_collection_in_the_repository_is_the_one_that_the_code_makes() {
    assert!(
        openapi_document::collection() == read("clients/gatehouse.http"),
        "cargo run --bin openapi-document -- --requests > clients/gatehouse.http"
    );
}

/// Sends each request of the collection as an editor would, after the first one.
#[tokio::test]
async fn every_request_of_the_collection_is_understood() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let collection = read("clients/gatehouse.http");
    let (introduction, requests) = collection.split_once("\n###").unwrap();
    let variables = introduction.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix('@')?.split_once(" = ")?;
        Some((format!("{{{{{name}}}}}"), value.to_owned()))
    });
    let mut variables: BTreeMap<String, String> = variables.collect();
    variables.insert("{{api}}".to_owned(), world.url().to_owned());
    let device = "{{setUpTwoFactor.response.body.deviceId}}".to_owned();
    variables.insert(device, "01JDV3MAB0C1D2E3F4G5H6J7K8".to_owned());

    let mut sent = 0;
    for request in requests.split("\n###") {
        let filled = variables.iter();
        let filled = filled.fold(request.to_owned(), |text, (name, value)| {
            text.replace(name, value)
        });
        assert!(!filled.contains("{{"), "a variable is missing: {filled}");
        let (head, body) = filled.trim().split_once("\n\n").unwrap_or((&filled, ""));
        let mut lines = head.trim().lines().skip(1);
        let id = lines.next().unwrap().strip_prefix("# @name ").unwrap();
        let (method, url) = lines.next().unwrap().split_once(' ').unwrap();
        let path = url.strip_prefix(world.url()).unwrap();
        let request = client.request(method.parse().unwrap(), path);
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let request = headers.fold(request, |request, (name, value)| {
            request.header(name, value)
        });
        let answer = request.body(body.to_owned()).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        let parsed: Value = serde_json::from_str(&text).unwrap_or_default();
        let code = parsed["error"].as_str().unwrap_or_default();
        let not_understood = [
            "malformed_json",
            "validation_failed",
            "unsupported_media_type",
            "missing_token",
            "csrf_failed",
            "origin_not_allowed",
            "invalid_request",
        ];
        assert!(!not_understood.contains(&code), "{id}: {code}");
        let is_missing = [
            "endSession",
            "passkeyRemove",
            "oauthStart",
            "oauthTokens",
            "oauthUnlink",
        ]
        .contains(&id)
            || status != 404;
        assert!(is_missing && status < 500, "{id}: {status} {code}");
        if id == "register" {
            for name in ["accessToken", "refreshToken"] {
                let value = parsed[name].as_str().unwrap().to_owned();
                variables.insert(format!("{{{{{name}}}}}"), value);
            }
        }
        sent += 1;
    }
    assert_eq!(sent, openapi_document::operations().len());
}

#[test]
fn every_route_is_described_and_no_other() {
    let document = openapi_document::document();
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
    let document = openapi_document::document();
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
    let document = openapi_document::document();
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
    let operations = openapi_document::operations();
    let errors = operations
        .iter()
        .flat_map(openapi_document::Operation::all_errors);
    let mut described: BTreeSet<&str> = errors.map(|(_, code)| code).collect();
    described.insert("method_not_allowed");
    assert_eq!(described, in_contract);
    assert_eq!(openapi_document::document()["openapi"], json!("3.1.0"));
}

#[tokio::test]
async fn the_api_serves_the_document() {
    let world = World::start();
    let client = world.client();

    let answer = client.request(Method::GET, "/api/auth/openapi.json");
    let answer = answer.send().await.unwrap();

    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "public, max-age=300");
    let served: Value = answer.json().await.unwrap();
    assert_eq!(served, openapi_document::document());
}

#[tokio::test]
async fn the_page_has_its_own_files_alone() {
    let world = World::start();
    let client = world.client();
    let get = async |path: &str| {
        let answer = client.request(Method::GET, path).send().await.unwrap();
        let header = |name: &str| {
            answer
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let (status, kind, encoding) = (
            answer.status(),
            header("content-type"),
            header("content-encoding"),
        );
        (
            status.as_u16(),
            kind.unwrap(),
            encoding,
            header("content-security-policy").unwrap(),
            answer.bytes().await.unwrap(),
        )
    };

    let (status, kind, _, policy, page) = get("/api/auth/docs").await;
    assert_eq!((status, kind.as_str()), (200, "text/html; charset=utf-8"));
    assert!(
        policy.starts_with("default-src 'none'; frame-ancestors 'none'; script-src 'self'"),
        "{policy}"
    );
    let page = String::from_utf8(page.to_vec()).unwrap();
    let (mut files, quoted) = (0, page.split('"').skip(1).step_by(2));
    for name in quoted.filter_map(|text| text.strip_prefix("docs/")) {
        let (status, kind, encoding, _, content) = get(&format!("/api/auth/docs/{name}")).await;
        let expected = if name.ends_with(".js") {
            "text/javascript"
        } else {
            "text/css"
        };
        assert_eq!(
            (status, kind),
            (200, format!("{expected}; charset=utf-8")),
            "{name}"
        );
        let is_gzip = content.starts_with(&[0x1f, 0x8b]);
        assert_eq!(encoding.is_some(), is_gzip, "{name}");
        files += 1;
    }
    assert_eq!(files, 4, "{page}");
    assert_eq!(get("/api/auth/docs/docs.html").await.0, 404);
    assert_eq!(get("/api/auth/docs/..%2Fsrc%2Fmain.rs").await.0, 404);
}

#[tokio::test]
async fn a_developer_registers_a_user_on_the_page() {
    let world = World::start();
    let Some(browser) = Browser::start().await else {
        return;
    };
    browser
        .open(&format!("{}/api/auth/docs", world.url()))
        .await;
    let operation = "#operations-Sign_in_and_out-register";

    browser
        .click(&format!("{operation} .opblock-summary-control"))
        .await;
    browser.wait_for_text(operation, "email").await;
    browser.click(&format!("{operation} .execute")).await;

    // The example is somebody's address, so a second run of the test finds it taken.
    let answer = format!("{operation} .live-responses-table tr.response");
    browser.wait_for_text(&answer, "success").await;
    browser.screenshot("docs").await;
}
