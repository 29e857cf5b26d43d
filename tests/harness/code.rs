//! Sign-in with a mailed code.

use serde_json::json;

use crate::{Answer, Client, World, until};

/// A part of the mail's subject.
const SUBJECT: &str = "Your code";

/// Asks for a code, and returns the value that the client keeps.
pub async fn request(client: &Client, email: &str) -> String {
    let body = json!({ "email": email });
    let answer = client.post("/api/auth/code/request", body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.text("requestToken")
}

/// Asks for a code; returns the value that the client keeps, and the code of the mail.
pub async fn ask(world: &World, client: &Client, email: &str) -> (String, String) {
    let before = world.mails_about(email, SUBJECT).await.len();
    let token = request(client, email).await;
    until("the mail with the code", async || {
        world.mails_about(email, SUBJECT).await.len() > before
    })
    .await;
    (token, of_mail(world, email, SUBJECT).await)
}

/// Returns the code in the newest mail to an address with this text in its subject.
pub async fn of_mail(world: &World, email: &str, subject: &str) -> String {
    let mail = world.mail(email, subject).await;
    let is_code = |word: &&str| word.len() == 6 && word.bytes().all(|byte| byte.is_ascii_digit());
    let mut words = mail.text.split_whitespace();
    words.find(is_code).expect("a code").to_owned()
}

/// Signs in with a code.
pub async fn confirm(client: &Client, request_token: &str, code: &str) -> Answer {
    let body = json!({ "requestToken": request_token, "code": code });
    client.post("/api/auth/code/confirm", body).await
}

/// Returns a code that is not this one.
pub fn other_than(code: &str) -> String {
    let number: u32 = code.parse().expect("digits");
    format!("{:06}", (number + 1) % 1_000_000)
}
