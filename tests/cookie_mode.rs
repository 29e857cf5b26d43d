//! Cookie mode: no script can read the refresh token, and CSRF protection ensures that a page of ours makes the
//! request.

use harness::client::{unique_email, unique_password};
use harness::{Account, Answer, Client, World};
use reqwest::Method;
use serde_json::{Value, json};

const ORIGIN: &str = "https://app.example";
const REFRESH: &str = "/api/auth/refresh";

fn world() -> Option<World> {
    let origins = "https://app.example,https://admin.example";
    World::build()
        .variable("CORS_ALLOWED_ORIGINS", origins)
        .start()
}

async fn in_cookie_mode(client: &Client, path: &str, body: Value) -> Answer {
    let request = client.request(Method::POST, path).json(&body);
    client
        .send(request.header("x-token-transport", "cookie"))
        .await
}

/// The tokens that a browser holds after signing in.
struct Browser {
    cookie: String,
    csrf: String,
    access: String,
}

impl Browser {
    fn after(answer: &Answer) -> Self {
        Self {
            cookie: answer.cookie("__Host-refresh_token").expect("a cookie"),
            csrf: answer.text("csrfToken"),
            access: answer.text("accessToken"),
        }
    }

    /// Sends a request with the cookie; `None` omits a header.
    async fn post(
        &self,
        client: &Client,
        path: &str,
        origin: Option<&str>,
        csrf: Option<&str>,
    ) -> Answer {
        let mut request = client.request(Method::POST, path);
        request = request.header("cookie", format!("__Host-refresh_token={}", self.cookie));
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        if let Some(csrf) = csrf {
            request = request.header("x-csrf-token", csrf);
        }
        if path != REFRESH {
            request = request.bearer_auth(&self.access);
        }
        client.send(request).await
    }
}

async fn sign_in(client: &Client) -> (Account, Browser) {
    let account = client.register().await;
    let body = json!({ "email": account.email, "password": account.password });
    let answer = in_cookie_mode(client, "/api/auth/login", body).await;
    (account, Browser::after(&answer))
}

/// security.md 25.
#[tokio::test]
async fn register_and_login_set_cookies_that_no_script_and_no_other_site_can_use() {
    let Some(world) = world() else { return };
    let client = world.client();
    let body = json!({ "email": "ada@example.com", "password": "Correct-7-horse" });
    for path in ["/api/auth/register", "/api/auth/login"] {
        let answer = in_cookie_mode(&client, path, body.clone()).await;

        assert!(
            answer.body.get("refreshToken").is_none() && answer.body.get("deviceToken").is_none()
        );
        assert_eq!(answer.text("csrfToken").len(), 64);
        let cookies = answer.cookies();
        assert_eq!(cookies.len(), 2, "{cookies:?}");
        for (cookie, name, life) in [
            (&cookies[0], "__Host-refresh_token", 604_800),
            (&cookies[1], "__Host-device", 7_776_000),
        ] {
            let (set, attributes) = cookie.split_once(';').unwrap();
            assert!(set.starts_with(&format!("{name}=ey")), "{cookie}");
            let mut attributes: Vec<&str> = attributes.split(';').map(str::trim).collect();
            attributes.sort_unstable();
            let age: u64 = attributes[1]
                .strip_prefix("Max-Age=")
                .unwrap()
                .parse()
                .unwrap();
            assert!((life - 2..=life + 1).contains(&age), "{cookie}");
            attributes.remove(1);
            assert_eq!(
                attributes,
                ["HttpOnly", "Path=/", "SameSite=Strict", "Secure"]
            );
        }
    }
    let in_body = client.post("/api/auth/login", body).await;
    assert!(in_body.cookies().is_empty() && in_body.body.get("csrfToken").is_none());
}

/// security.md 25.
#[tokio::test]
async fn a_refresh_by_cookie_stays_in_cookie_mode_with_the_same_csrf_token() {
    let Some(world) = world() else { return };
    let client = world.client();
    let (_, mut browser) = sign_in(&client).await;
    for _ in 0..3 {
        let (origin, csrf) = (Some(ORIGIN), Some(browser.csrf.as_str()));

        let answer = browser.post(&client, REFRESH, origin, csrf).await;

        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.text("csrfToken"), browser.csrf);
        assert!(answer.body.get("refreshToken").is_none());
        let renewed = Browser::after(&answer);
        assert_ne!(renewed.cookie, browser.cookie);
        assert_eq!(client.profile(&renewed.access).await.status, 200);
        browser = renewed;
    }
}

/// security.md 25. A refused request changes nothing: the token is still valid.
#[tokio::test]
async fn a_cookie_needs_a_listed_origin_and_its_sessions_csrf_token() {
    let Some(world) = world() else { return };
    let client = world.client();
    let (_, browser) = sign_in(&client).await;
    let (_, other) = sign_in(&client).await;
    for path in [REFRESH, "/api/auth/logout"] {
        for (origin, csrf, code) in [
            (None, Some(browser.csrf.as_str()), "origin_not_allowed"),
            (
                Some("https://evil.example"),
                Some(browser.csrf.as_str()),
                "origin_not_allowed",
            ),
            (
                Some("https://app.example.evil.example"),
                Some(browser.csrf.as_str()),
                "origin_not_allowed",
            ),
            (
                Some("null"),
                Some(browser.csrf.as_str()),
                "origin_not_allowed",
            ),
            (Some(ORIGIN), None, "csrf_failed"),
            (Some(ORIGIN), Some(""), "csrf_failed"),
            (Some(ORIGIN), Some(other.csrf.as_str()), "csrf_failed"),
        ] {
            let answer = browser.post(&client, path, origin, csrf).await;

            assert_eq!(answer.code(), code, "{path} {origin:?} {csrf:?}");
            assert!(answer.cookies().is_empty());
        }
    }
    assert_eq!(client.profile(&browser.access).await.status, 200);
    let answer = browser
        .post(&client, REFRESH, Some(ORIGIN), Some(&browser.csrf))
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn logout_ends_the_session_and_the_cookie() {
    let Some(world) = world() else { return };
    let client = world.client();
    let (_, browser) = sign_in(&client).await;
    let (origin, csrf) = (Some(ORIGIN), Some(browser.csrf.as_str()));

    let answer = browser
        .post(&client, "/api/auth/logout", origin, csrf)
        .await;

    assert_eq!(answer.status, 200);
    let cookies = answer.cookies();
    let [removed] = &cookies[..] else {
        panic!("{cookies:?}")
    };
    let mut parts: Vec<&str> = removed.split("; ").collect();
    assert_eq!(parts.remove(0), "__Host-refresh_token=");
    parts.sort_unstable();
    let attributes = [
        "HttpOnly",
        "Max-Age=0",
        "Path=/",
        "SameSite=Strict",
        "Secure",
    ];
    assert_eq!(parts, attributes);
    let dead = browser.post(&client, REFRESH, origin, csrf).await;
    assert_eq!(dead.code(), "refresh_token_invalid");
    // A logout without a cookie needs no CSRF token and sets no cookie.
    let account = client.register().await;
    let plain = client.logout(&account.access).await;
    assert!(plain.status == 200 && plain.cookies().is_empty());
}

/// A token in the body takes precedence over the cookie, and the rules for cookies do not apply then.
#[tokio::test]
async fn a_token_in_the_body_goes_before_the_cookie() {
    let Some(world) = world() else { return };
    let client = world.client();
    let (account, browser) = sign_in(&client).await;
    let cookie = format!("__Host-refresh_token={}", browser.cookie);
    let request = client
        .request(Method::POST, REFRESH)
        .header("cookie", cookie);
    let body = json!({ "refreshToken": account.refresh });

    let in_body = client.send(request.json(&body)).await;
    let into_cookie = {
        let body = json!({ "refreshToken": in_body.text("refreshToken") });
        in_cookie_mode(&client, REFRESH, body).await
    };

    assert!(in_body.cookies().is_empty());
    let moved = Browser::after(&into_cookie);
    let answer = moved
        .post(&client, REFRESH, Some(ORIGIN), Some(&moved.csrf))
        .await;
    assert_eq!(answer.status, 200);
    // The cookie's session is unchanged.
    let answer = browser
        .post(&client, REFRESH, Some(ORIGIN), Some(&browser.csrf))
        .await;
    assert_eq!(answer.status, 200);
}

/// security.md 25. If white space precedes the prefix, a browser does not recognise the prefix and lets a sibling
/// domain set the cookie.
#[tokio::test]
async fn a_cookie_whose_name_only_looks_the_same_is_another() {
    let Some(world) = world() else { return };
    let client = world.client();
    let (_, browser) = sign_in(&client).await;
    let name = "__Host-refresh_token";
    let cookies = format!("\u{2000}{name}=planted; {name}={}", browser.cookie);
    let request = client
        .request(Method::POST, REFRESH)
        .header("cookie", cookies.as_bytes())
        .header("origin", ORIGIN)
        .header("x-csrf-token", &browser.csrf);

    assert_eq!(client.send(request).await.status, 200);
}

/// A page without its cookie is not signed in (401); a client that sends a body has forgotten the field (400).
#[tokio::test]
async fn a_cookie_that_is_absent_is_401_and_a_field_that_is_forgotten_400() {
    let Some(world) = world() else { return };
    let client = world.client();
    let request = || client.request(Method::POST, REFRESH);

    for absent in [
        request(),
        request().header("cookie", "a=b"),
        request().header("x-csrf-token", "0").json(&json!({})),
        request()
            .header("x-token-transport", "cookie")
            .json(&json!({})),
        request().header("origin", ORIGIN).json(&json!({})),
    ] {
        let answer = client.send(absent).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (401, "missing_token")
        );
    }
    let forgotten = client.send(request().json(&json!({}))).await;
    assert!(forgotten.names(&["refreshToken"]), "{forgotten:?}");
}

#[tokio::test]
async fn a_transport_that_does_not_exist_is_refused_before_anything_happens() {
    let Some(world) = world() else { return };
    let client = world.client();
    let account = client.register().await;
    for (path, body) in [
        (
            "/api/auth/register",
            json!({ "email": unique_email(), "password": unique_password() }),
        ),
        (
            "/api/auth/login",
            json!({ "email": account.email, "password": account.password }),
        ),
        (REFRESH, json!({ "refreshToken": account.refresh })),
    ] {
        let request = client.request(Method::POST, path).json(&body);
        let typo = client
            .send(request.header("x-token-transport", "cookies"))
            .await;
        let request = client.request(Method::POST, path).json(&body);
        let named = client
            .send(request.header("x-token-transport", "Body"))
            .await;

        assert!(typo.names(&["X-Token-Transport"]), "{path}: {typo:?}");
        assert!(named["refreshToken"].is_string(), "{path}: {named:?}");
    }
}

/// A page that has lost its CSRF token can neither refresh nor log out.
#[tokio::test]
async fn the_csrf_token_can_be_fetched_again_with_the_cookie_by_a_page_of_ours() {
    let Some(world) = world() else { return };
    let client = world.client();
    let (account, browser) = sign_in(&client).await;
    let fetch = async |cookie: Option<&str>, origin: Option<&str>| {
        let mut request = client.request(Method::POST, "/api/auth/csrf-token");
        if let Some(cookie) = cookie {
            request = request.header("cookie", format!("__Host-refresh_token={cookie}"));
        }
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        client.send(request).await
    };

    let fetched = fetch(Some(&browser.cookie), Some(ORIGIN)).await;

    assert_eq!(fetched.text("csrfToken"), browser.csrf);
    assert!(fetched.cookies().is_empty() && fetched.body.get("accessToken").is_none());
    let foreign = fetch(Some(&browser.cookie), Some("https://evil.example")).await;
    let nowhere = fetch(Some(&browser.cookie), None).await;
    for answer in [foreign, nowhere] {
        assert_eq!(answer.code(), "origin_not_allowed");
    }
    assert_eq!(fetch(None, Some(ORIGIN)).await.code(), "missing_token");
    let other = fetch(Some(&account.access), Some(ORIGIN)).await;
    assert_eq!(other.code(), "refresh_token_invalid");
}

/// bugs 6.
#[tokio::test]
async fn a_logout_by_cookie_needs_no_access_token_that_is_still_valid() {
    let Some(world) = World::build()
        .variable("CORS_ALLOWED_ORIGINS", ORIGIN)
        .variable("JWT_EXPIRY", "1s")
        .start()
    else {
        return;
    };
    let client = world.client();
    for with_access in [true, false] {
        let (_, browser) = sign_in(&client).await;
        harness::token::wait_until_expired(&browser.access).await;
        let logout = async |csrf: Option<&str>| {
            let cookie = format!("__Host-refresh_token={}", browser.cookie);
            let mut request = client
                .request(Method::POST, "/api/auth/logout")
                .header("cookie", cookie)
                .header("origin", ORIGIN);
            if with_access {
                request = request.bearer_auth(&browser.access);
            }
            if let Some(csrf) = csrf {
                request = request.header("x-csrf-token", csrf);
            }
            client.send(request).await
        };

        let forged = logout(None).await;
        let answer = logout(Some(&browser.csrf)).await;

        assert_eq!(forged.code(), "csrf_failed");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.cookie("__Host-refresh_token").as_deref(), Some(""));
        let dead = browser
            .post(&client, REFRESH, Some(ORIGIN), Some(&browser.csrf))
            .await;
        assert_eq!(dead.code(), "refresh_token_invalid");
    }
}

/// The secret is rotated while somebody is signed in; nobody is signed out.
#[tokio::test]
async fn a_session_in_cookie_mode_survives_a_rotation_of_the_secret() {
    let (old, new) = ("o".repeat(32), "n".repeat(32));
    let folder = tempfile::tempdir().unwrap();
    let start = |secret: &str, previous: &str| {
        World::build()
            .variable("CORS_ALLOWED_ORIGINS", ORIGIN)
            .variable("JWT_ISSUER", "https://auth.example")
            .variable("JWT_REFRESH_SECRET", secret)
            .variable("JWT_REFRESH_SECRET_PREVIOUS", previous)
            .variable("GUARD_SECRET", &secret.repeat(2))
            .variable("GUARD_SECRET_PREVIOUS", &previous.repeat(2))
            .data_dir(folder.path())
            .start()
    };
    let Some(before) = start(&old, "") else {
        return;
    };
    let (_, browser) = sign_in(&before.client()).await;
    drop(before);
    let Some(after) = start(&new, &old) else {
        return;
    };
    let client = after.client();

    let answer = browser
        .post(&client, REFRESH, Some(ORIGIN), Some(&browser.csrf))
        .await;

    assert_eq!(answer.status, 200, "{answer:?}");
    // The CSRF token is made with the new secret, so it stays valid without the old one.
    let renewed = Browser::after(&answer);
    assert_ne!(renewed.csrf, browser.csrf);
    let logout = renewed
        .post(
            &client,
            "/api/auth/logout",
            Some(ORIGIN),
            Some(&renewed.csrf),
        )
        .await;
    assert_eq!(logout.status, 200);
}
