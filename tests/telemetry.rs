//! What the functions log and count.

use harness::World;
use reqwest::Method;
use serde_json::{Value, json};

fn requests(world: &World) -> Vec<Value> {
    world
        .log()
        .into_iter()
        .filter(|line| line["message"] == "request")
        .collect()
}

#[tokio::test]
async fn every_request_is_one_line_with_who_what_and_how_long() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;

    let profile = client.request(Method::GET, "/api/auth/profile");
    let profile = profile.bearer_auth(&account.access);
    let answer = client.send(profile.header("x-request-id", "chosen")).await;
    client.profile("nonsense").await;

    let lines = requests(&world);
    assert_eq!(lines.len(), 3);
    let (register, profile, refused) = (&lines[0], &lines[1], &lines[2]);
    assert_eq!(
        (&register["function"], &register["route"]),
        (&json!("register"), &json!("POST /api/auth/register"))
    );
    assert_eq!(
        (&register["outcome"], &register["status"]),
        (&json!("ok"), &json!(201))
    );
    assert_eq!(
        profile["request_id"].as_str(),
        answer.header("x-request-id")
    );
    assert_ne!(profile["request_id"], "chosen");
    assert_eq!(
        (&refused["outcome"], &refused["status"]),
        (&json!("invalid_token"), &json!(401))
    );
    assert_eq!(
        (&profile["cold_start"], &refused["cold_start"]),
        (&json!(true), &json!(false))
    );
    for line in &lines {
        assert!(
            line["duration_ms"]
                .as_f64()
                .is_some_and(|duration| duration > 0.0),
            "{line}"
        );
        assert_eq!(line["level"], "INFO");
    }
}

/// The identifiers that connect a request's lines and its trace.
#[tokio::test]
async fn every_line_about_a_request_says_which_request_trace_function_and_route() {
    let Some(world) = World::build().fixture().start() else {
        return;
    };
    let client = world.client();
    client.register().await;
    let panicked = client.request(Method::GET, "/fixture/panic");
    client.send(panicked).await;

    let log = world.log();

    let lines = |message: &str| -> Vec<&Value> {
        let with_this = log.iter().filter(|line| line["message"] == message);
        with_this.collect()
    };
    let (requests, panics) = (lines("request"), lines("panic"));
    let (audit, failed) = (lines("audit"), lines("failed"));
    assert_eq!((audit.len(), panics.len(), failed.len()), (1, 1, 1));
    for (line, request) in [
        (audit[0], requests[0]),
        (panics[0], requests[1]),
        (failed[0], requests[1]),
    ] {
        for name in ["request_id", "trace_id", "function", "version", "route"] {
            assert!(
                line[name].as_str().is_some_and(|text| !text.is_empty()),
                "{name} of {line}"
            );
            assert_eq!(line[name], request[name], "{line}");
        }
    }
    // AWS X-Ray Developer Guide, "Tracing header": 1-, 8 and 24 hexadecimal digits.
    let trace = requests[0]["trace_id"].as_str().unwrap();
    let lengths: Vec<usize> = trace.split('-').map(str::len).collect();
    assert_eq!(lengths, [1, 8, 24], "{trace}");
    assert_ne!(requests[0]["trace_id"], requests[1]["trace_id"]);
    let mail = world.log();
    assert!(
        mail.iter()
            .filter(|line| line["message"] == "mail")
            .all(|line| line["trace_id"].is_string())
    );
}

#[tokio::test]
async fn counts_and_times_are_logged_as_embedded_metrics() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    client.login(&account).await;
    client.try_login(&account.email, "Wrong-7-horse").await;
    let second = client.refresh(&account.refresh).await;
    client.refresh(&second.text("refreshToken")).await;
    client.refresh(&account.refresh).await;

    let log = world.log();

    let total = |metric: &str, outcome: Option<&str>| -> f64 {
        let lines = log
            .iter()
            .filter(|line| outcome.is_none_or(|outcome| line["Outcome"] == outcome));
        // A count is a number, a time is a list of numbers.
        let numbers = |line: &Value| match &line[metric] {
            Value::Array(values) => values.iter().filter_map(Value::as_f64).sum(),
            value => value.as_f64().unwrap_or_default(),
        };
        lines.map(numbers).sum()
    };
    assert_eq!(total("Registrations", None), 1.0);
    assert_eq!(total("Logins", Some("success")), 1.0);
    assert_eq!(total("Logins", Some("invalid_credentials")), 1.0);
    assert_eq!(total("TokensIssued", None), 4.0);
    assert_eq!(total("Refreshes", Some("success")), 2.0);
    assert_eq!(total("Refreshes", Some("refresh_token_reused")), 1.0);
    assert_eq!(total("RefreshTokenReuse", None), 1.0);
    assert_eq!(total("ColdStarts", None), 3.0);
    assert!(total("HashTime", None) > 0.0);
    for line in log.iter().filter(|line| line.get("_aws").is_some()) {
        let metric = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(
            (&metric["Namespace"], &line["Stack"]),
            (&json!("Gatehouse"), &json!("local"))
        );
        for definition in metric["Metrics"].as_array().unwrap() {
            let (name, unit) = (definition["Name"].as_str().unwrap(), &definition["Unit"]);
            let is_timed = name == "HashTime";
            assert_eq!(
                unit,
                if is_timed { "Milliseconds" } else { "Count" },
                "{line}"
            );
            assert_eq!(
                (line[name].is_array(), line[name].is_number()),
                (is_timed, !is_timed),
                "{line}"
            );
        }
        for dimension in metric["Dimensions"][0].as_array().unwrap() {
            assert!(line[dimension.as_str().unwrap()].is_string(), "{line}");
        }
    }
}

#[tokio::test]
async fn security_events_are_log_events_too_and_an_unknown_account_leaves_no_item() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let entries = world.dynamodb().audit(&account.id).await;

    client
        .try_login("nobody@example.com", "Wrong-7-horse")
        .await;

    let log = world.log();
    let audit: Vec<&Value> = log
        .iter()
        .filter(|line| line["message"] == "audit")
        .collect();
    assert_eq!(
        (&audit[0]["audit"], &audit[0]["user_id"]),
        (&json!("register"), &json!(account.id))
    );
    assert_eq!(
        (&audit[1]["audit"], &audit[1]["outcome"]),
        (&json!("login"), &json!("failure"))
    );
    assert!(audit[1].get("user_id").is_none(), "{}", audit[1]);
    assert!(
        audit
            .iter()
            .all(|line| line["ip"].as_str().unwrap().starts_with("127.")
                && line["request_id"].is_string())
    );
    assert_eq!(world.dynamodb().audit(&account.id).await, entries);
    // A decoy write in place of an audit entry contains no information.
    let decoys = world.dynamodb().items("DECOY#").await;
    assert_eq!(decoys.len(), 2);
    for decoy in &decoys {
        let fields = decoy.as_object().unwrap().keys();
        let fields: Vec<&str> = fields.map(String::as_str).collect();
        assert_eq!(fields, ["filler", "pk", "sk", "ttl"]);
    }
}

/// security.md 5 and 39. When the world ends, it checks that the log has none of the typed texts.
#[tokio::test]
async fn no_field_and_no_header_forges_a_log_line() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let forged = r#"x"} {"level":"INFO","message":"request","outcome":"forged"}"#;
    let login =
        json!({ "identifier": format!("a\r\n{forged}"), "password": format!("b\r\n{forged}") });

    client
        .send(
            client
                .request(Method::POST, "/api/auth/login")
                .header("user-agent", forged)
                .json(&login),
        )
        .await;
    client
        .update_profile(&account.access, json!({ "name": forged, forged: 1 }))
        .await;
    let control = reqwest::header::HeaderValue::from_bytes(b"tab\there\xff").unwrap();
    client
        .send(
            client
                .request(Method::POST, "/api/auth/login")
                .header("user-agent", control)
                .json(&login),
        )
        .await;

    let lines = world.log_lines();
    let parsed = world.log();
    assert_eq!(parsed.len(), lines.len(), "every line is one JSON object");
    assert!(!parsed.iter().any(|line| line["outcome"] == "forged"));
}

/// Even at the lowest level, only our own code logs.
#[tokio::test]
async fn the_lowest_log_level_logs_no_body() {
    let Some(world) = World::build()
        .variable("AWS_LAMBDA_LOG_LEVEL", "TRACE")
        .start()
    else {
        return;
    };
    let client = world.client();

    let account = client.register().await;
    client.login(&account).await;
    client.refresh(&account.refresh).await;

    assert!(requests(&world).len() == 3);
}
