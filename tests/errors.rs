//! `GET /errors` and `GET /errors/{code}`: the pages that the `docs` field of a failure links to.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::World;
use harness::world::read;
use reqwest::{Method, Response};
use serde_json::json;

/// Reads the codes with their statuses from `shared/src/error.rs`.
fn codes() -> Vec<(String, String)> {
    let text = read("shared/src/error.rs");
    let (_, parts) = text.split_once("fn parts(&self)").unwrap();
    let (parts, _) = parts.split_once("pub fn status(&self)").unwrap();
    let mut codes: Vec<_> = parts
        .split("StatusCode::")
        .skip(1)
        .map(|part| {
            let (status, rest) = part.split_once(',').unwrap();
            let code = rest.split('"').nth(1).unwrap();
            (status_code(status).to_owned(), code.to_owned())
        })
        .collect();
    codes.sort();
    // Failures may share a code: one that is 401 at login is 403 for a signed-in user. The lower status stays.
    let mut known = std::collections::BTreeSet::new();
    codes.retain(|(_, code)| known.insert(code.clone()));
    codes
}

fn status_code(name: &str) -> &'static str {
    match name {
        "BAD_REQUEST" => "400",
        "UNAUTHORIZED" => "401",
        "FORBIDDEN" => "403",
        "NOT_FOUND" => "404",
        "METHOD_NOT_ALLOWED" => "405",
        "CONFLICT" => "409",
        "PAYLOAD_TOO_LARGE" => "413",
        "UNSUPPORTED_MEDIA_TYPE" => "415",
        "TOO_MANY_REQUESTS" => "429",
        "INTERNAL_SERVER_ERROR" => "500",
        "SERVICE_UNAVAILABLE" => "503",
        _ => panic!("{name}"),
    }
}

#[test]
fn each_code_has_one_section_with_its_status_and_a_way_on() {
    let text = read("docs/errors.md");
    let sections = text.split("\n## ").skip(1).map(|section| {
        let paragraphs: Vec<&str> = section.trim().split("\n\n").collect();
        let [code, meaning, todo @ ..] = paragraphs.as_slice() else {
            panic!("{section}");
        };
        assert!(
            !todo.is_empty(),
            "the section of {code} does not say what to do"
        );
        let status = meaning.strip_prefix("Status ").unwrap();
        (status[..3].to_owned(), (*code).to_owned())
    });
    let mut sections: Vec<_> = sections.collect();
    sections.sort();

    assert!(sections.len() > 30);
    assert_eq!(sections, codes());
}

async fn page(response: Response) -> String {
    assert_eq!(response.status(), 200);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("x-content-type-options"), "nosniff");
    let policy = header("content-security-policy");
    assert_eq!(response.headers().get_all("content-type").iter().count(), 1);
    let page = response.text().await.unwrap();
    let (_, style) = page.split_once("<style>").unwrap();
    let (style, _) = style.split_once("</style>").unwrap();
    let digest = STANDARD.encode(digest(&SHA256, style.as_bytes()));
    let expected =
        format!("default-src 'none'; frame-ancestors 'none'; style-src 'sha256-{digest}'");
    assert_eq!(policy, expected);
    page
}

#[tokio::test]
async fn a_failure_leads_to_a_page_that_explains_its_code() {
    let world = World::start();
    let client = world.client();
    let failure = client.post("/api/auth/login", json!({})).await;
    let docs = failure.text("docs");

    let response = client.request(Method::GET, &docs).send().await.unwrap();

    let page = page(response).await;
    assert!(page.contains("<h1><code>validation_failed</code></h1>"));
    assert!(page.contains("<p>Status 400. Fields of the body"), "{page}");
    assert!(page.contains("<code>details</code> has an entry"), "{page}");
    assert!(!page.contains('`') && !page.contains("##"), "{page}");
}

#[tokio::test]
async fn every_code_has_a_page_and_the_list_names_them_all() {
    let world = World::start();
    let client = world.client();
    let get = async |path: &str| client.request(Method::GET, path).send().await.unwrap();
    let list = page(get("/errors").await).await;
    for (status, code) in codes() {
        let link = format!("/errors/{code}");
        assert!(list.contains(&format!("<a href=\"{link}\">{code}</a>")));

        let page = page(get(&link).await).await;

        assert!(page.contains(&format!("<h1><code>{code}</code></h1>")));
        assert!(page.contains(&format!("<p>Status {status}")), "{page}");
    }
    assert_eq!(list.matches("<li>").count(), codes().len());
}

#[tokio::test]
async fn an_unknown_code_is_a_404() {
    let world = World::start();
    let client = world.client();
    for code in [
        "nothing",
        "Validation_Failed",
        "validation_failed%0aStatus",
        "%3Cscript%3E",
    ] {
        let path = format!("/errors/{code}");
        let answer = client.send(client.request(Method::GET, &path)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (404, "not_found"),
            "{code}"
        );
    }
}

/// Messages of 400 and 403 errors say what to do next.
#[tokio::test]
async fn messages_say_what_to_do_next() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let post = async |path: &str| {
        let body = json!({ "token": "123456" });
        let path = format!("/api/auth/{path}");
        client.post_as(&account.access, &path, body).await
    };

    let answer = post("2fa/disable").await;
    assert_eq!(answer.code(), "two_factor_not_enabled");
    assert!(answer.text("message").contains("POST /api/auth/2fa/setup"));

    client.enrol(&account).await;
    let answer = client.try_login(&account.email, &account.password).await;
    assert_eq!(answer.code(), "two_factor_required");
    assert!(answer.text("message").contains("twoFactorToken"));
}
