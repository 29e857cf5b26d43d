//! Passwords from data leaks, with the file that `infra/leaked-passwords` makes.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harness::client::unique_email;
use harness::world::{binaries, is_inside};
use harness::{Account, World, token};
use serde_json::{Value, json};

const LEAKED: &str = "Leaked-7-horses";
const SHA1_OF_LEAKED: &str = "BDDE62CC4425EBB268727DD0619F0490E4481209";
const GOOD: &str = "Unheard-8-of-horses";

fn make(folder: &Path, list: &str, arguments: &[&str]) -> (PathBuf, Output) {
    let input = folder.join("list");
    std::fs::File::create(&input)
        .unwrap()
        .write_all(list.as_bytes())
        .unwrap();
    let file = folder.join("leaked-passwords");
    let mut tool = Command::new(&binaries()["leaked-passwords"]);
    let tool = tool.arg(&input).arg("--output").arg(&file).args(arguments);
    (file, tool.output().unwrap())
}

fn world(file: &Path) -> World {
    let world = World::build().variable("LEAKED_PASSWORDS", file.to_str().unwrap());
    world.start().expect("a system on this machine")
}

/// security.md 3.
#[tokio::test]
async fn a_leaked_password_is_refused_wherever_one_is_set() {
    if !is_inside() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (file, made) = make(folder.path(), &format!("{LEAKED}\nCorrect-7-horse\n"), &[]);
    assert!(made.status.success(), "{made:?}");
    let world = world(&file);
    let client = world.client();
    let register = async |password: &str| {
        let body = json!({ "email": unique_email(), "password": password });
        client.post("/api/auth/register", body).await
    };
    let refused = ["is known from a data leak"];

    assert_eq!(register(LEAKED).await.messages("password"), refused);
    assert_eq!(register(GOOD).await.status, 201);
    let account = client.register().await;
    let body = json!({ "currentPassword": account.password, "newPassword": LEAKED });
    let changed = client.change_password(&account.access, body).await;
    assert_eq!(changed.messages("newPassword"), refused);
    assert_eq!(changed["details"][0]["code"], "leaked_password");
    client.request_reset(&account.email).await;
    let mail = world.mail(&account.email, "Reset your").await;
    let reset = async |password: &str| {
        let body = json!({ "token": token::in_mail(&mail), "newPassword": password });
        client.post("/api/auth/password-reset/confirm", body).await
    };
    assert_eq!(reset(LEAKED).await.messages("newPassword"), refused);
    assert_eq!(reset(GOOD).await.status, 200, "the link was not used up");
}

/// A password can leak after it was chosen, or come from another system.
#[tokio::test]
async fn a_sign_in_with_a_leaked_password_advises_a_change() {
    if !is_inside() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = make(folder.path(), LEAKED, &[]);
    let world = world(&file);
    let client = world.client();
    let account = client.register().await;
    let first = client.try_login(&account.email, &account.password).await;
    assert_eq!(first["passwordLeaked"], Value::Null);
    let hash = bcrypt::hash(LEAKED, 4).unwrap();
    world.dynamodb().set_password_hash(&account.id, &hash).await;

    let answer = client.try_login(&account.email, LEAKED).await;

    assert_eq!(answer.status, 200);
    assert_eq!(answer["passwordLeaked"], true);
    let wrong = client.try_login(&account.email, "Leaked-8-horses").await;
    assert_eq!(wrong["passwordLeaked"], Value::Null);
    let (access, _) = client
        .login(&Account {
            password: LEAKED.to_owned(),
            ..account
        })
        .await;
    let body = json!({ "currentPassword": LEAKED, "newPassword": GOOD });
    assert_eq!(client.change_password(&access, body).await.status, 200);
}

#[tokio::test]
async fn published_hashes_make_the_same_file() {
    if !is_inside() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let list = format!("{SHA1_OF_LEAKED}:3\r\nnothing\n{}:2\n", "0".repeat(40));
    let (file, made) = make(folder.path(), &list, &["--hashes", "--at-least", "3"]);
    assert!(made.status.success(), "{made:?}");
    let said = String::from_utf8(made.stdout).unwrap();
    assert!(said.contains("1 of 3 lines"), "{said}");
    assert!(said.contains("1 lines are not a SHA-1 in hex"), "{said}");
    let from_hashes = std::fs::read(&file).unwrap();

    make(folder.path(), LEAKED, &[]);

    assert_eq!(std::fs::read(&file).unwrap(), from_hashes);
    let (_, made) = make(folder.path(), "nothing\n", &["--hashes"]);
    assert!(!made.status.success());
    assert_eq!(std::fs::read(&file).unwrap(), from_hashes, "it is kept");
}

#[test]
fn a_file_that_is_missing_or_damaged_keeps_functions_from_starting() {
    if !is_inside() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = make(folder.path(), LEAKED, &[]);
    let mut damaged = std::fs::read(&file).unwrap();
    damaged[60] ^= 1;
    std::fs::write(&file, damaged).unwrap();
    for path in [file, folder.path().join("nothing")] {
        let world = World::build()
            .variable("LEAKED_PASSWORDS", path.to_str().unwrap())
            .try_start();
        let error = world.err().expect("an error at the start");
        let expected = "LEAKED_PASSWORDS must be a file made by infra/leaked-passwords";
        assert!(error.contains(expected), "{error}");
    }
}

/// NIST SP 800-63B-4, 3.1.1.2: length instead of classes of characters.
#[tokio::test]
async fn without_classes_a_password_is_long_instead() {
    let world = World::build()
        .variable("PASSWORD_COMPOSITION", "none")
        .variable("PASSWORD_MIN_LENGTH", "15");
    let Some(world) = world.start() else { return };
    let client = world.client();
    for (password, broken) in [
        ("correct horse battery", vec![]),
        ("Correct-7-horse", vec![]),
        (
            "Correct-7-hors",
            vec!["must be at least 15 characters long"],
        ),
    ] {
        let body = json!({ "email": unique_email(), "password": password });
        let answer = client.post("/api/auth/register", body).await;
        match broken.is_empty() {
            true => assert_eq!(answer.status, 201, "{password}"),
            false => assert_eq!(answer.messages("password"), broken, "{password}"),
        }
    }
    let short = World::build()
        .variable("PASSWORD_COMPOSITION", "none")
        .variable("PASSWORD_MIN_LENGTH", "14")
        .try_start();
    let error = short.err().expect("an error at the start");
    assert!(error.contains("PASSWORD_COMPOSITION=none needs"), "{error}");
}
