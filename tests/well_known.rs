//! `GET /.well-known/change-password`.

use harness::{Answer, World};
use reqwest::Method;

const PATH: &str = "/.well-known/change-password";

async fn ask(world: &World, query: &str) -> Answer {
    let client = world.client();
    let request = client.request(Method::GET, &format!("{PATH}{query}"));
    let forged = request.header("x-forwarded-host", "evil.example");
    client.send(forged).await
}

#[tokio::test]
async fn it_leads_to_the_frontends_page() {
    for frontend in ["https://app.example.com", "https://app.example.com/"] {
        let world = World::build().variable("FRONTEND_URL", frontend);
        let Some(world) = world.start() else { return };

        let answer = ask(&world, "").await;

        assert_eq!(answer.status, 302);
        let page = "https://app.example.com/change-password";
        assert_eq!(answer.header("location"), Some(page));
    }
}

/// Nothing in the request determines the target.
#[tokio::test]
async fn it_leads_to_the_configured_page_and_nowhere_else() {
    let page = "https://accounts.example.com/settings?tab=password#change";
    let world = World::build().variable("CHANGE_PASSWORD_URL", page);
    let Some(world) = world.start() else { return };

    for query in ["", "?url=https://evil.example", "?next=//evil.example"] {
        let answer = ask(&world, query).await;

        assert_eq!(answer.status, 302);
        assert_eq!(answer.header("location"), Some(page), "{query}");
    }
    let client = world.client();
    for path in [
        "/.well-known/change-password/x",
        "/.well-known//evil.example",
    ] {
        let answer = client.send(client.request(Method::GET, path)).await;
        assert_eq!(answer.status, 404, "{path}");
    }
}

#[test]
fn what_is_no_url_keeps_it_from_starting() {
    for url in [
        "app.example.com",
        "data:text/html,x",
        "https://",
        "javascript:alert(1)",
    ] {
        let world = World::build()
            .variable("CHANGE_PASSWORD_URL", url)
            .try_start();
        let error = world.err().expect("an error at the start");
        assert!(error.contains("CHANGE_PASSWORD_URL must be"), "{error}");
    }
}
