//! A new user completes the mailed flows in a real browser without a frontend: in the console's inbox and the pages
//! under `/_local`.

use harness::browser::system_and_browser;
use harness::client::unique_password;
use harness::{Account, World};

/// Returns the link in the newest mail with this subject.
async fn link(world: &World, account: &Account, subject: &str) -> String {
    let mail = world.mail(&account.email, subject).await;
    let mut words = mail.text.split_whitespace();
    let link = words.find(|word| word.starts_with("http")).expect("a link");
    link.to_owned()
}

#[tokio::test]
async fn a_new_user_verifies_the_address_and_resets_the_password() {
    let Some((world, browser)) = system_and_browser().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;

    let verification = link(&world, &account, "Verify").await;
    browser.open(&format!("{}/_local/", world.url())).await;
    browser.wait_for_text("#inbox li", &account.email).await;
    browser.click("#inbox li button").await;
    browser
        .wait_for_text("#inbox h2", "Verify your address")
        .await;
    let sandbox = browser.attribute("iframe", "sandbox").await.unwrap();
    assert!(
        !sandbox.contains("scripts") && !sandbox.contains("same-origin"),
        "{sandbox}"
    );
    browser.enter_frame(Some("iframe")).await;
    browser.wait_for_text(".button", "Verify address").await;
    assert_eq!(
        browser.attribute(".button", "href").await.unwrap(),
        verification
    );
    browser.enter_frame(None).await;
    browser.screenshot("inbox").await;

    // security.md 26: opening the link changes nothing; only the button does.
    browser.open(&verification).await;
    browser.wait_for_text("#confirm", "Verify address").await;
    let user = client.profile(&account.access).await["user"].clone();
    assert_eq!(user["emailVerified"], false);
    browser.screenshot("verify-email").await;
    // This browser has no session of the account, so the user has to enter the password.
    browser.click("#confirm").await;
    browser.wait_for_text("#result", "Enter the password").await;
    browser.screenshot("verify-email-password").await;
    browser.type_into("#password", &account.password).await;
    browser.click("#confirm").await;
    browser.wait_for_text("#result", "verified").await;
    browser.click("#next a").await;
    browser.wait_for_text("#operation h2", "Sign in").await;
    let user = client.profile(&account.access).await["user"].clone();
    assert_eq!(user["emailVerified"], true);

    client.request_reset(&account.email).await;
    let reset = link(&world, &account, "Reset your").await;
    browser.open(&reset).await;
    browser.type_into("#password", "short").await;
    browser.click("button").await;
    browser
        .wait_for_text("#result", "must be at least 8 characters")
        .await;
    browser.screenshot("reset-password-refused").await;
    assert_eq!(client.profile(&account.access).await.status, 200);
    let new = unique_password();
    browser.open(&reset).await;
    browser.type_into("#password", &new).await;
    browser.click("button").await;
    browser
        .wait_for_text("#result", "Sign in with it now")
        .await;
    browser.screenshot("reset-password").await;

    assert_eq!(
        client.profile(&account.access).await.code(),
        "token_revoked"
    );
    assert_eq!(client.try_login(&account.email, &new).await.status, 200);
    browser.open(&reset).await;
    browser.type_into("#password", &new).await;
    browser.click("button").await;
    browser.wait_for_text("#result", "not valid any more").await;
}

#[tokio::test]
async fn rejecting_a_registration_removes_the_account() {
    let Some((world, browser)) = system_and_browser().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let token = world.rejection_token(&account.email).await;
    let rejection = format!("{}/_local/reject-email#token={token}", world.url());
    let mail = world.mail(&account.email, "Verify").await;
    assert!(mail.text.contains(&rejection), "{}", mail.text);

    browser.open(&rejection).await;
    browser.wait_for_text("h1", "Remove the account").await;
    browser.screenshot("reject").await;
    assert_eq!(client.profile(&account.access).await.status, 200);
    browser.click("#confirm").await;
    browser.wait_for_text("#result", "removed").await;

    assert_eq!(
        client.profile(&account.access).await.code(),
        "token_revoked"
    );
}

#[tokio::test]
async fn the_undo_link_turns_the_second_factor_off() {
    let Some((world, browser)) = system_and_browser().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    client.enrol(&account).await;
    let undo = link(&world, &account, "is on").await;

    browser.open(&undo).await;
    browser.wait_for_text("#confirm", "Turn it off").await;
    browser.screenshot("undo-two-factor").await;
    assert_eq!(client.profile(&account.access).await.status, 200);
    browser.click("#confirm").await;
    browser.wait_for_text("#result", "is off").await;

    let reset = link(&world, &account, "Reset your").await;
    assert!(reset.contains("/_local/reset-password#token="), "{reset}");
}

/// Password managers send users to `/.well-known/change-password`.
#[tokio::test]
async fn a_user_changes_the_password_where_a_password_manager_leads() {
    let Some((world, browser)) = system_and_browser().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let new = unique_password();

    browser
        .open(&format!("{}/.well-known/change-password", world.url()))
        .await;
    browser.wait_for_text("h1", "Change your password").await;
    browser.type_into("#email", &account.email).await;
    browser.type_into("#current", &account.password).await;
    browser.type_into("#new", &new).await;
    browser.click("button").await;
    browser.wait_for_text("#result.good", "password").await;
    browser.screenshot("change-password").await;

    assert_eq!(client.try_login(&account.email, &new).await.status, 200);
}

/// Without a link, the page hides its form and says nothing about passwords.
#[tokio::test]
async fn a_page_without_its_link_says_so() {
    let Some((world, browser)) = system_and_browser().await else {
        return;
    };
    for page in ["verify-email", "reset-password"] {
        browser
            .open(&format!("{}/_local/{page}", world.url()))
            .await;
        browser
            .wait_for_text("#result", "needs a link from a mail")
            .await;
        assert!(browser.attribute("form", "hidden").await.is_some());
    }
}
