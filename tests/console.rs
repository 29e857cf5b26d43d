//! The console at `/` of the local stack, in a real browser.

use harness::authenticator::{decode_qr_code, step};
use harness::browser::{Browser, system_and_browser};
use harness::client::{unique_email, unique_password};
use harness::oauth::{REAL, RealProvider};
use harness::{Authenticator, World, passkey, until};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_user_signs_up_and_turns_on_a_second_factor_by_clicks_alone() {
    let Some((world, browser)) = system_and_browser().await else {
        return;
    };
    browser.open(&format!("{}/", world.url())).await;
    browser.wait_for_text("#who", "Nobody is signed in").await;

    browser.click("#operation .main").await;
    browser
        .wait_for_text("#shown", "The account was created")
        .await;
    browser
        .wait_for_text("#request", "POST /api/auth/register")
        .await;
    browser.wait_for_text("#answer", "201").await;
    browser.wait_for_text("#who", "@example.com").await;
    browser.screenshot("console-register").await;

    browser.click("#operation-setup").await;
    browser.click("#operation .main").await;
    browser.wait_for_text("#shown", "Scan this").await;
    let link = browser.attribute("#shown a", "href").await.unwrap();
    assert!(link.starts_with("otpauth://totp/"), "{link}");
    let qr_code = browser.attribute("#shown img", "src").await.unwrap();
    assert_eq!(decode_qr_code(&qr_code), link);
    let mut app = Authenticator::from_url(&link);
    browser.screenshot("console-second-factor").await;

    browser.click("#operation-verify").await;
    browser.click("#operation .fill").await;
    until("the present code", async || {
        let typed = browser.property("#field-token", "value").await;
        // The step may end between the two.
        [app.code(step()), app.code(step() - 1)].contains(&typed.as_str().unwrap().to_owned())
    })
    .await;
    browser.clear("#field-token").await;
    browser.type_into("#field-token", "000000").await;
    browser.click("#operation .main").await;
    browser.wait_for_text("#shown", "not valid").await;
    browser.clear("#field-token").await;
    browser.type_into("#field-token", &app.next().await).await;
    browser.click("#operation .main").await;
    browser.wait_for_text("#shown", "Each works once").await;
    browser.screenshot("console-backup-codes").await;

    browser.click("#operation-login").await;
    browser.click("#operation .main").await;
    browser
        .wait_for_text("#answer", "403 two_factor_required")
        .await;
    browser.wait_for_text("#shown", "Type the code").await;
    browser
        .type_into("#field-twoFactorToken", &app.next().await)
        .await;
    browser.click("#operation .main").await;
    browser.wait_for_text("#shown", "Signed in").await;
    browser.wait_for_text("#shown", "second factor").await;

    browser.click("#operation-logout").await;
    browser.click("#operation .main").await;
    browser.wait_for_text("#who", "Nobody is signed in").await;
}

/// A virtual authenticator of the browser creates a passkey, and signs in with it.
#[tokio::test]
async fn a_user_adds_a_passkey_and_signs_in_with_it_alone() {
    let Some((world, browser)) = system_and_browser().await else {
        return;
    };
    browser.add_authenticator().await;
    let client = world.client();
    // A passkey belongs to a domain, and an IP address is none.
    let url = world.url().replace("127.0.0.1", "localhost");
    browser.open(&format!("{url}/")).await;
    browser.click("#operation .main").await;
    browser.wait_for_text("#who", "@example.com").await;
    let email = browser.property("#field-email", "value").await;
    let mail = world.mail(email.as_str().unwrap(), "Verify").await;

    browser.click("#operation-passkey-register").await;
    browser.click("#operation .main").await;
    browser
        .wait_for_text("#answer", "403 email_not_verified")
        .await;
    let body = json!({ "token": harness::token::in_mail(&mail), "password": "Correct-7-horse" });
    let verified = client.post("/api/auth/verify-email", body).await;
    assert_eq!(verified.status, 200, "{verified:?}");
    browser.click("#operation .main").await;
    browser
        .wait_for_text("#shown", "The passkey was added")
        .await;
    browser.screenshot("console-passkey").await;

    browser.click("#operation-logout").await;
    browser.click("#operation .main").await;
    browser.wait_for_text("#who", "Nobody is signed in").await;
    browser.click("#operation-passkey-login").await;
    browser.click("#operation .main").await;
    browser.wait_for_text("#shown", "Signed in").await;
    browser
        .wait_for_text("#request", "POST /api/auth/passkeys/login")
        .await;
    browser.wait_for_text("#who", email.as_str().unwrap()).await;

    browser.click("#operation-profile").await;
    browser.click("#operation .main").await;
    browser.wait_for_text("#shown", "Passkey “Laptop”").await;
    browser.screenshot("console-passkeys").await;
    browser.click("#shown li button").await;
    browser
        .wait_for_text("#shown", "The passkey was removed")
        .await;
    browser.click("#operation-passkey-login").await;
    browser.click("#operation .main").await;
    browser
        .wait_for_text("#answer", "401 passkey_invalid")
        .await;
}

#[tokio::test]
async fn a_user_signs_in_with_a_mailed_code_or_by_the_mails_link() {
    let Some((world, browser)) = system_and_browser().await else {
        return;
    };
    let account = world.client().register().await;
    let ask = async || {
        browser
            .open(&format!("{}/#code-request", world.url()))
            .await;
        browser.clear("#field-email").await;
        browser.type_into("#field-email", &account.email).await;
        browser.click("#operation .main").await;
        browser.wait_for_text("#shown", "a mail with a code").await;
    };
    ask().await;
    let mail = world.mail(&account.email, "Your code").await;
    let (_, code) = mail.text.split_once("/sign-in#code=").expect("a link");
    let (code, link) = (
        &code[..6],
        format!("{}/_local/sign-in#code={}", world.url(), &code[..6]),
    );
    browser.click("#operation-code-confirm").await;
    browser.type_into("#field-code", code).await;
    browser.click("#operation .main").await;
    browser.wait_for_text("#shown", "Signed in").await;
    browser.wait_for_text("#who", &account.email).await;
    browser.screenshot("console-code").await;

    // security.md 53: in a browser that has not asked, the link signs nobody in.
    browser.open(&link).await;
    browser
        .wait_for_text("#result", "No code was asked for")
        .await;
    browser.screenshot("sign-in-elsewhere").await;
    ask().await;
    harness::until("the second mail", async || {
        world.mails_about(&account.email, "Your code").await.len() == 2
    })
    .await;
    let mail = world.mail(&account.email, "Your code").await;
    let (_, code) = mail.text.split_once("/sign-in#code=").expect("a link");
    browser
        .open(&format!(
            "{}/_local/sign-in#code={}",
            world.url(),
            &code[..6]
        ))
        .await;
    browser.screenshot("sign-in").await;
    browser.click("#confirm").await;
    browser.wait_for_text("#result", "Signed in").await;
}

#[tokio::test]
async fn a_broken_field_is_told_at_the_field() {
    let Some((world, browser)) = system_and_browser().await else {
        return;
    };
    browser.open(&format!("{}/", world.url())).await;
    browser.clear("#field-password").await;
    browser.type_into("#field-password", "short").await;

    browser.click("#operation .main").await;

    browser
        .wait_for_text("#field-password-problem", "must be at least 8 characters")
        .await;
    let invalid = browser.attribute("#field-password", "aria-invalid").await;
    assert_eq!(invalid.as_deref(), Some("true"));
}

#[tokio::test]
async fn requests_of_others_appear_with_their_outcome_time_and_lines() {
    let Some((world, browser)) = system_and_browser().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let wrong = json!({ "email": account.email, "password": unique_password() });
    browser.open(&format!("{}/", world.url())).await;
    browser.click("#tab-requests").await;

    client.post("/api/auth/login", wrong).await;

    let newest = "#exchanges li:first-child";
    browser
        .wait_for_text(newest, "401 invalid_credentials")
        .await;
    browser.click(&format!("{newest} summary")).await;
    browser
        .wait_for_text(&format!("{newest} pre"), "INFO request:")
        .await;
    browser
        .wait_for_text(&format!("{newest} .legend"), "hash of the password")
        .await;
    browser.screenshot("console-requests").await;
    browser.type_into("#filter", "register").await;
    browser.wait_for_text(newest, "/api/auth/register").await;
}

#[tokio::test]
async fn data_mails_and_charts_follow_what_happens() {
    let Some((world, browser)) = system_and_browser().await else {
        return;
    };
    let client = world.client();
    let first = client.register().await;
    browser.open(&format!("{}/", world.url())).await;
    browser.click("#tab-data").await;
    browser.wait_for_text("#rows", &first.email).await;
    let second = client.register().await;
    browser.wait_for_text("#rows", &second.email).await;
    browser.click("#kind-sessions").await;
    browser.wait_for_text("#rows", &second.id).await;
    browser.click("#kind-items").await;
    browser.wait_for_text("#rows", "OUTBOX#").await;

    browser.click("#tab-inbox").await;
    browser.wait_for_text("#inbox", &second.email).await;

    browser.click("#tab-charts").await;
    browser
        .wait_for_text("#charts", "in the last ten minutes")
        .await;
    browser.screenshot("console-charts").await;
}

#[tokio::test]
async fn arrow_keys_move_between_the_views() {
    let Some((world, browser)) = system_and_browser().await else {
        return;
    };
    browser.open(&format!("{}/#data", world.url())).await;
    browser.wait_for_text("#tab-data", "Data").await;

    browser.type_into("#tab-data", "\u{e014}").await; // the right arrow

    until("the next view", async || {
        browser
            .attribute("#tab-inbox", "aria-selected")
            .await
            .as_deref()
            == Some("true")
    })
    .await;
}

#[tokio::test]
async fn the_console_asks_no_other_host() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let get = async |path: &str| {
        let answer = client.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    };
    let page = get("/").await;
    let mut files = vec![page.clone()];
    for name in page
        .split(['"'])
        .filter(|text| text.starts_with("/_local/"))
    {
        files.push(get(name).await);
    }
    assert!(files.len() > 2, "{page}");
    for text in files {
        for foreign in ["https://", "http://", "src=\"//"] {
            let namespaces = ["http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"];
            let text = namespaces
                .iter()
                .fold(text.clone(), |text, name| text.replace(name, ""));
            let text = text.replace("Picture (https://…)", "");
            assert!(!text.contains(foreign), "{foreign}: {text}");
        }
    }
}

#[tokio::test]
async fn activity_tells_each_change_once_and_state_has_both_stores() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let get = async |path: &str| -> Value {
        let answer = client.request(Method::GET, path).send().await.unwrap();
        answer.json().await.unwrap()
    };
    let account = client.register().await;
    let paths = |activity: &Value| {
        let records = activity["records"].as_array().unwrap().iter();
        let paths = records.filter_map(|record| record["exchange"]["path"].as_str());
        paths.map(str::to_owned).collect::<Vec<_>>()
    };
    // The last line of a request may come a moment after the answer.
    until("the metrics", async || {
        let all = get("/_local/activity").await;
        all["records"][0]["lines"].to_string().contains("_aws")
    })
    .await;

    let all = get("/_local/activity").await;
    assert_eq!(paths(&all), ["/api/auth/register"]);
    client.profile(&account.access).await;
    let next = &all["next"];
    let news = get(&format!("/_local/activity?after={next}")).await;
    assert_eq!(paths(&news), ["/api/auth/profile"]);

    let state = get("/_local/state").await;
    assert_eq!(state["problem"], Value::Null);
    let items = state["tables"][0]["items"].as_array().unwrap();
    assert!(
        items
            .iter()
            .any(|item| item["email"] == account.email.as_str()),
        "{items:?}"
    );
    let keys = state["redis"].as_array().unwrap();
    let sessions = format!("sessions:{{{}}}", account.id);
    assert!(
        keys.iter().any(|key| key["key"] == sessions.as_str()),
        "{keys:?}"
    );
}

/// From the console to a certified provider and back: signing in, and linking.
#[tokio::test]
async fn a_user_signs_in_with_a_provider_and_links_it_to_another_account() {
    let Some(provider) = RealProvider::start().await else {
        return;
    };
    let Some(browser) = Browser::start().await else {
        return;
    };
    let Some(world) = provider.configure(World::build()).start() else {
        return;
    };
    let client = world.client();
    let account = passkey::proven(&world, &client).await;
    let email = unique_email();
    let begin = async || {
        browser.open(&format!("{}/#oauth-start", world.url())).await;
        browser.click("#operation-oauth-start").await;
        browser.clear("#field-provider").await;
        browser.type_into("#field-provider", REAL).await;
        browser.click("#operation .main").await;
        browser
            .wait_for_text("#shown", "Open the provider's page")
            .await;
        let page = browser.attribute("#provider-page", "href").await;
        browser.open(&page.expect("a page")).await;
    };

    begin().await;
    browser.type_into("input[name=login]", &email).await;
    browser.type_into("input[name=password]", "any").await;
    browser.click("button[type=submit]").await;
    browser.wait_for_text("button", "Continue").await;
    browser.click("button[type=submit]").await;
    browser.wait_for_text("h1", "Sign in").await;
    browser.screenshot("oauth-page").await;
    browser.click("form button").await;
    browser.wait_for_text("#result", "Signed in").await;

    // The provider knows its user now, and sends the browser back at once.
    begin().await;
    browser.wait_for_text("h1", "Sign in").await;
    browser.open(&format!("{}/#login", world.url())).await;
    browser.click("#operation-login").await;
    browser.clear("#field-identifier").await;
    browser.type_into("#field-identifier", &account.email).await;
    browser.clear("#field-password").await;
    browser
        .type_into("#field-password", &account.password)
        .await;
    browser.click("#operation .main").await;
    browser.wait_for_text("#who", &account.email).await;
    browser.click("#operation-oauth-link").await;
    browser.click("#operation .main").await;
    browser.wait_for_text("#answer", "409 identity_taken").await;

    // The first account's user signs in in the console, and sees the provider in the profile.
    begin().await;
    browser.wait_for_text("h1", "Sign in").await;
    browser.open(&format!("{}/#oauth-login", world.url())).await;
    browser.click("#operation-oauth-login").await;
    browser.click("#operation .main").await;
    browser.wait_for_text("#who", &email).await;
    browser.click("#operation-profile").await;
    browser.click("#operation .main").await;
    browser
        .wait_for_text("#shown", &format!("{REAL} ({email})"))
        .await;
    browser.screenshot("console-identities").await;
    browser.click("#shown li button").await;
    browser
        .wait_for_text("#answer", "409 last_sign_in_method")
        .await;
}
