//! The sample events in `events/`: each function answers its events as their names say.

use std::collections::BTreeSet;

use harness::World;
use local::template::Function;
use local::{build, containers};
use serde_json::{Value, json};

/// The events of functions that no client calls, with the answer. The entry, the address and the token in the events do
/// not exist.
const NO_CLIENTS: [(&str, &str); 4] = [
    ("authorizer", r#"{"isAuthorized":false,"context":{}}"#),
    (
        "authorizer-rest",
        r#"{"principalId":"nobody","policyDocument":{"Version":"2012-10-17","Statement":[{"Action":"execute-api:Invoke",
        "Effect":"Deny","Resource":"arn:aws:execute-api:us-east-1:123456789012:abcdefghij/prod/*"}]},"context":{}}"#,
    ),
    ("mail-events", "null"),
    ("mailer", r#"{"batchItemFailures":[]}"#),
];

/// Every file with the status and the error code of its answer.
const EVENTS: &[(&str, u16, &str)] = &[
    ("register.json", 201, ""),
    ("register-invalid.json", 400, "validation_failed"),
    ("register-minimal.json", 201, ""),
    ("register-unknown-field.json", 400, "validation_failed"),
    ("login.json", 200, ""),
    ("login-remember-me.json", 200, ""),
    ("login-username.json", 200, ""),
    ("login-wrong-password.json", 401, "invalid_credentials"),
    ("introspect.json", 401, "invalid_client"),
    ("revoke.json", 401, "invalid_client"),
    ("jwks.json", 200, ""),
    ("jwks-discovery.json", 200, ""),
    ("logout.json", 200, ""),
    ("logout-all-devices.json", 200, ""),
    ("logout-no-token.json", 401, "missing_token"),
    ("oauth-start.json", 404, "not_found"),
    ("oauth-callback.json", 303, ""),
    ("oauth-login.json", 401, "oauth_grant_invalid"),
    ("oauth-link.json", 403, "email_not_verified"),
    ("oauth-tokens.json", 404, "not_found"),
    ("oauth-unlink.json", 404, "not_found"),
    ("openapi.json", 200, ""),
    ("openapi-docs.json", 200, ""),
    ("openapi-docs-file.json", 200, ""),
    ("errors.json", 200, ""),
    ("errors-unknown.json", 404, "not_found"),
    ("not-found.json", 404, "not_found"),
    ("profile.json", 200, ""),
    ("profile-no-token.json", 401, "missing_token"),
    ("profile-update.json", 200, ""),
    ("profile-update-invalid.json", 400, "validation_failed"),
    ("refresh.json", 200, ""),
    ("refresh-malformed.json", 400, "malformed_json"),
    ("refresh-no-token.json", 400, "validation_failed"),
    ("sessions.json", 200, ""),
    ("sessions-no-token.json", 401, "missing_token"),
    ("sessions-end-others.json", 200, ""),
    ("sessions-end-unknown.json", 404, "not_found"),
    // A valid code cannot be known beforehand: a pending device gets a wrong code, and there is no factor to turn off.
    ("two-factor-setup.json", 200, ""),
    ("two-factor-setup-no-token.json", 401, "missing_token"),
    ("two-factor-verify.json", 403, "two_factor_invalid"),
    ("two-factor-verify-malformed.json", 400, "validation_failed"),
    ("two-factor-disable.json", 400, "two_factor_not_enabled"),
    ("two-factor-undo.json", 400, "invalid_verification_token"),
    (
        "verify-email-unknown.json",
        400,
        "invalid_verification_token",
    ),
    ("verify-resend.json", 200, ""),
    ("verify-email.json", 200, ""),
    ("code-request.json", 200, ""),
    ("code-confirm.json", 401, "code_invalid"),
    // No authenticator has answered the options.
    ("passkey-register-options.json", 200, ""),
    ("passkey-register.json", 400, "validation_failed"),
    ("passkey-login-options.json", 200, ""),
    ("passkey-login.json", 401, "passkey_invalid"),
    ("passkey-remove.json", 404, "not_found"),
    ("well-known.json", 302, ""),
    ("reset-request-unknown.json", 200, ""),
    ("reset-request.json", 200, ""),
    ("change-password-wrong.json", 403, "invalid_credentials"),
    ("change-password.json", 200, ""),
    // Afterwards, the password is the first one again.
    ("reset-confirm-unknown.json", 400, "invalid_reset_token"),
    ("reset-confirm.json", 200, ""),
    // The last event deletes the account.
    (
        "delete-account-wrong-password.json",
        403,
        "invalid_credentials",
    ),
    ("delete-account.json", 200, ""),
];

#[tokio::test]
async fn every_event_is_answered_by_its_function() {
    let Some(world) = World::inside() else { return };
    answers_every_event(&world, async |function, event| {
        let answer = world.local().invoke(&function.name, event).await;
        answer.unwrap_or_else(|error| panic!("{}: {error:?}", function.name))
    })
    .await;
}

/// Runs as described in docs/deploy.md, with the last output of `sam build`. `.ci/sam-local` lists further
/// requirements.
#[tokio::test]
#[ignore = "needs Docker and the SAM CLI: .ci/sam-local"]
async fn every_event_is_answered_by_its_function_in_lambdas_container() {
    let folder = tempfile::tempdir().unwrap();
    let variables = folder.path().join("variables.json");
    let world = World::build().default_limits().sam_env(&variables).start();
    answers_every_event(&world.unwrap(), async |function, event| {
        let file = folder.path().join("event.json");
        std::fs::write(&file, event).unwrap();
        let mut sam = tokio::process::Command::new("sam");
        sam.args(["local", "invoke", &function.resource, "--event"]);
        sam.arg(&file).arg("--env-vars").arg(&variables);
        sam.args(containers::ADD_HOST.split(' '));
        sam.args(["--skip-pull-image", "--region", "us-east-1"]);
        let output = sam.current_dir(build::workspace()).output().await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", function.name);
        output.stdout
    })
    .await;
}

async fn answers_every_event(world: &World, invoke: impl AsyncFn(&Function, Vec<u8>) -> Vec<u8>) {
    let folder = build::workspace().join("events");
    let files = std::fs::read_dir(&folder).unwrap();
    let files: BTreeSet<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let of_clients = EVENTS.iter().map(|(name, ..)| (*name).to_owned());
    let others = NO_CLIENTS.iter().map(|(name, _)| format!("{name}.json"));
    assert_eq!(
        files,
        of_clients.chain(others).collect(),
        "the files and the expectations differ"
    );
    let functions = harness::template().functions;
    // The function with the longest name that the file's name begins with.
    let function_of = |stem: &str| {
        functions
            .iter()
            .filter(|function| stem.starts_with(&function.name))
            .max_by_key(|function| function.name.len())
            .unwrap_or_else(|| panic!("{stem} names no function"))
    };

    for &(name, status, code) in EVENTS {
        let stem = name.strip_suffix(".json").unwrap();
        let function = function_of(stem);
        let event = std::fs::read_to_string(folder.join(name)).unwrap();
        // The first event registers the account that the other events use.
        let client = world.client();
        let mut tokens = json!({ "accessToken": "", "refreshToken": "" });
        let (email, password) = ("ada@example.com", "Correct-7-horse-battery");
        let (mut verification, mut reset) = (String::new(), String::new());
        if function.name != "register" {
            let mut login = json!({ "email": email, "password": password });
            if stem.starts_with("reset-confirm") {
                client.request_reset(email).await;
                reset = world.mailed_token("reset_password", email).await;
                login["password"] = json!("Another-7-horse-battery");
            }
            verification = world.mailed_token("verify_email", email).await;
            tokens = client.post("/api/auth/login", login).await.body;
        }
        let event = event
            .replace("VERIFICATION_TOKEN", &verification)
            .replace("RESET_TOKEN", &reset)
            .replace(
                "ACCESS_TOKEN",
                tokens["accessToken"].as_str().unwrap_or_default(),
            )
            .replace(
                "REFRESH_TOKEN",
                tokens["refreshToken"].as_str().unwrap_or_default(),
            );

        let answer = invoke(function, event.into_bytes()).await;

        let answer: Value =
            serde_json::from_slice(&answer).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(answer["statusCode"], status, "{name}: {answer}");
        let body = answer["body"].as_str().unwrap();
        if answer["headers"]["content-encoding"] == "gzip" {
            assert_eq!(answer["isBase64Encoded"], true, "{name}");
            continue;
        }
        if answer["headers"]["content-type"] == "text/html; charset=utf-8" {
            assert!(body.starts_with("<!doctype html>"), "{name}: {body}");
            continue;
        }
        let body: Value = serde_json::from_str(body).unwrap();
        if ["jwks", "openapi"].contains(&function.name.as_str()) {
            assert!(body.is_object(), "{name}: {body}");
            continue;
        }
        assert_eq!(body["success"], status < 400, "{name}");
        assert_eq!(body["error"].as_str().unwrap_or_default(), code, "{name}");
        assert_eq!(answer["headers"]["cache-control"], "no-store", "{name}");
    }
    for function in &functions {
        let file = format!("{}.json", function.name);
        assert!(files.contains(&file), "{} has no event", function.name);
    }
    for (name, expected) in NO_CLIENTS {
        let event = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
        let answer = invoke(function_of(name), event).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(answer, expected, "{name}");
    }
}
