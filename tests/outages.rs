//! Outages: what clients see while something else fails, and that the system recovers by itself.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::client::{unique_email, unique_password};
use harness::endpoints::{Endpoint, Store, endpoints};
use harness::peers::{CredentialsEndpoint, Fault, Mode, TcpProxy, address};
use harness::world::binaries;
use harness::{Account, Answer, Client, World, until};
use local::build;
use local::lambda::InvokeError;
use local::redis::Redis;
use reqwest::Method;
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// The time within which a client gets an answer.
const LIMIT: Duration = Duration::from_secs(2);

/// Makes a request to every route, a few at once; returns the answers and how long they took. The last requests end the
/// account if they succeed, so each such call needs another account.
async fn ask_all(client: &Client, account: &Account) -> Vec<(Endpoint, Answer, Duration)> {
    let ask = async |endpoint: Endpoint| {
        let started = Instant::now();
        let answer = client.send(endpoint.request(client, &account.access)).await;
        (endpoint, answer, started.elapsed())
    };
    let mut endpoints = endpoints(account);
    let last = endpoints.split_off(endpoints.len() - 2); // they end the account and its session
    let mut answers = Vec::new();
    for chunk in endpoints.chunks(4) {
        answers.extend(join_all(chunk.iter().cloned().map(ask)).await);
    }
    for endpoint in last {
        answers.push(ask(endpoint).await);
    }
    answers
}

/// Asserts that the endpoints that need the store report its outage in time, and that the others answer as usual.
fn all_are_unavailable_without(store: Store, answers: &[(Endpoint, Answer, Duration)]) {
    for (endpoint, answer, took) in answers {
        let expected = match endpoint.needs.contains(&store) {
            true => 503,
            false => endpoint.status,
        };
        assert_eq!(answer.status.as_u16(), expected, "{endpoint:?}: {answer:?}");
        assert!(*took < LIMIT, "{endpoint:?} took {took:?}");
    }
}

fn all_work(answers: &[(Endpoint, Answer, Duration)]) {
    for (endpoint, answer, _) in answers {
        let status = answer.status.as_u16();
        assert_eq!(status, endpoint.status, "{endpoint:?}: {answer:?}");
    }
}

#[tokio::test]
async fn without_redis_clients_are_told_and_it_heals_without_a_restart() {
    let Some((world, proxy, redis)) = World::build().behind_redis_proxy().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let items_before = world.dynamodb().items("EMAIL#").await.len();

    for mode in [Mode::Gone, Mode::Silent] {
        proxy.set(mode);
        all_are_unavailable_without(Store::Redis, &ask_all(&client, &account).await);
        // The refused registration has left no account, not even a partial one.
        assert_eq!(world.dynamodb().items("EMAIL#").await.len(), items_before);
        assert_eq!(
            world.dynamodb().user(&account.id).await["status"]["S"],
            "active"
        );
        proxy.set(Mode::Gone); // ends the silent connections
        proxy.set(Mode::Forward);
        assert_eq!(client.profile(&account.access).await.status, 200);
    }
    all_work(&ask_all(&client, &account).await);

    // A new, empty Redis: everybody is signed out, and can sign in again.
    let survivor = client.register().await;
    drop(redis);
    let redis = Redis::start(None, &[]).unwrap();
    proxy.set_upstream(address(&redis.url));
    assert_eq!(
        client.profile(&survivor.access).await.code(),
        "token_revoked"
    );
    assert_eq!(
        client.refresh(&survivor.refresh).await.code(),
        "refresh_token_invalid"
    );
    let (access, _) = client.login(&survivor).await;
    assert_eq!(client.profile(&access).await.status, 200);
}

#[tokio::test]
async fn a_connection_that_died_silently_during_a_freeze_is_replaced_within_the_request() {
    let Some((world, proxy, _redis)) = World::build().behind_redis_proxy().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    all_work(&ask_all(&client, &client.register().await).await); // opens the connection of each function

    proxy.freeze_connections();

    let answers = ask_all(&client, &account).await;
    all_work(&answers);
    for (endpoint, _, took) in answers {
        assert!(took < LIMIT, "{endpoint:?} took {took:?}");
    }
}

/// A lost answer to a rotation must not end the session: the second try returns the same successor.
#[tokio::test]
async fn a_refresh_whose_connection_dies_gives_the_one_successor() {
    let Some((world, proxy, _redis)) = World::build().behind_redis_proxy().await else {
        return;
    };
    let client = world.client();
    let mut token = client.register().await.refresh;
    for _ in 0..5 {
        proxy.freeze_connections();
        let answer = client.refresh(&token).await;

        assert_eq!(answer.status, 200, "{answer:?}");
        token = answer.text("refreshToken");
    }
}

#[tokio::test]
async fn without_dynamodb_clients_are_told_and_it_heals_without_a_restart() {
    let proxy = TcpProxy::start("127.0.0.1:9").await;
    let world = World::build().variable(
        "AWS_ENDPOINT_URL_DYNAMODB",
        &format!("http://{}", proxy.address),
    );
    let Some(world) = world.start() else { return };
    proxy.set_upstream(address(&world.local().info().dynamodb_url));
    let client = world.client();
    let mut account = client.register().await;

    for mode in [Mode::Gone, Mode::Silent] {
        let (access, refresh) = client.login(&account).await;
        account = Account {
            access,
            refresh,
            ..account
        };
        proxy.set(mode);
        all_are_unavailable_without(Store::DynamoDb, &ask_all(&client, &account).await);
        proxy.set(Mode::Gone);
        proxy.set(Mode::Forward);
    }

    // The logout that failed because of its audit entry has ended the session nevertheless.
    assert_eq!(
        client.profile(&account.access).await.code(),
        "token_revoked"
    );
    let (access, refresh) = client.login(&account).await;
    let account = Account {
        access,
        refresh,
        ..account
    };
    all_work(&ask_all(&client, &account).await);
}

#[tokio::test]
async fn connections_to_dynamodb_that_died_silently_are_replaced_within_the_request() {
    let proxy = TcpProxy::start("127.0.0.1:9").await;
    let url = format!("http://{}", proxy.address);
    let world = World::build().variable("AWS_ENDPOINT_URL_DYNAMODB", &url);
    let Some(world) = world.start() else {
        return;
    };
    proxy.set_upstream(address(&world.local().info().dynamodb_url));
    let client = world.client();
    let account = client.register().await;
    all_work(&ask_all(&client, &client.register().await).await); // opens the connections of each function

    proxy.freeze_connections();

    let answers = ask_all(&client, &account).await;
    all_work(&answers);
    for (endpoint, _, took) in answers {
        assert!(took < LIMIT, "{endpoint:?} took {took:?}");
    }
}

/// A rotation whose answer could not be given is undone. However long the outage, the client's token is still the
/// current one, and not one that was used before.
#[tokio::test]
async fn an_outage_longer_than_the_grace_signs_nobody_out() {
    let proxy = TcpProxy::start("127.0.0.1:9").await;
    let url = format!("http://{}", proxy.address);
    let world = World::build().variable("AWS_ENDPOINT_URL_DYNAMODB", &url);
    let Some(world) = world.variable("REFRESH_GRACE", "0s").start() else {
        return;
    };
    proxy.set_upstream(address(&world.local().info().dynamodb_url));
    let client = world.client();
    let account = client.register().await;

    proxy.set(Mode::Gone);
    for _ in 0..3 {
        assert_eq!(
            client.refresh(&account.refresh).await.code(),
            "service_unavailable"
        );
    }
    proxy.set(Mode::Forward);
    let answer = client.refresh(&account.refresh).await;

    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        client.refresh(&answer.text("refreshToken")).await.status,
        200
    );
}

#[tokio::test]
async fn a_transaction_that_meets_another_is_tried_again_and_not_for_ever() {
    let Some((world, faulty)) = World::build().behind_faulty_dynamodb().await else {
        return;
    };
    let client = world.client();
    let body = || json!({ "email": unique_email(), "password": unique_password() });

    faulty.fail(vec![Fault::transaction_conflict(); 3]);
    let patient = client.post("/api/auth/register", body()).await;
    faulty.fail(vec![Fault::transaction_conflict(); 4]);
    let hopeless = client.post("/api/auth/register", body()).await;

    assert_eq!(
        (patient.status.as_u16(), hopeless.code()),
        (201, "service_unavailable")
    );
    assert_eq!(faulty.faults_left(), 0, "four tries");
    assert_eq!(world.dynamodb().items("EMAIL#").await.len(), 1);
    let sessions = world.sessions();
    assert_eq!(
        sessions.len(),
        1,
        "the session without an account is ended: {sessions:?}"
    );
}

/// security.md I9. Only an existing account can cause a conflict, so the answer must not differ.
#[tokio::test]
async fn a_request_for_a_link_that_meets_others_is_answered_as_ever() {
    let Some((world, faulty)) = World::build().behind_faulty_dynamodb().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    for path in ["/forgot-password", "/api/auth/verify-email/resend"] {
        let ask = async |email: &str| client.post(path, json!({ "email": email })).await;
        let unknown = ask(&unique_email()).await;

        faulty.fail(vec![Fault::transaction_conflict(); 4]);
        let known = ask(&account.email).await;

        assert_eq!(faulty.faults_left(), 0, "four tries");
        let answers = [&known, &unknown];
        let [known, unknown] =
            answers.map(|answer| (answer.status, answer.body_without_request_token()));
        assert_eq!(known, unknown);
    }
}

/// The transaction was committed, but its answer was lost. The retry uses the same idempotency token, so there is one
/// account.
#[tokio::test]
async fn a_registration_whose_answer_from_the_store_is_lost_makes_one_account() {
    let Some((world, faulty)) = World::build().behind_faulty_dynamodb().await else {
        return;
    };
    let client = world.client();

    faulty.fail([Fault::lost_answer("TransactWriteItems")]);
    let account = client.register().await;

    assert_eq!(faulty.faults_left(), 0);
    assert_eq!(world.dynamodb().items("OUTBOX#").await.len(), 1);
    assert_eq!(client.profile(&account.access).await.status, 200);
}

/// An environment that was frozen may wake up with a clock that stood still.
#[tokio::test]
async fn a_request_that_was_signed_at_another_time_is_signed_again() {
    let Some((world, faulty)) = World::build().behind_faulty_dynamodb().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;

    faulty.fail([Fault::wrong_time("GetItem")]);
    let answer = client.profile(&account.access).await;

    assert_eq!((answer.status.as_u16(), faulty.faults_left()), (200, 0));
}

/// If the clock is wrong by more than AWS accepts, requests are signed with the service's time.
#[tokio::test]
async fn a_function_whose_clock_is_slow_signs_by_the_services_clock() {
    let Some(builder) = World::build().clock("profile", "-20m") else {
        return;
    };
    let Some((world, faulty)) = builder.behind_faulty_dynamodb().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    faulty.read_clocks();

    let first = client.profile(&account.access).await;
    let asked = faulty.operations().len();
    let second = client.profile(&account.access).await;

    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 200));
    assert_eq!(
        faulty.operations().len(),
        asked + 1,
        "the second request needs no retry"
    );
}

/// With SnapStart and in containers, credentials expire while the environment lives on.
#[tokio::test]
async fn credentials_that_expire_are_replaced_in_time() {
    let Some((world, faulty)) = World::build().behind_faulty_dynamodb().await else {
        return;
    };
    let account = world.client().register().await;
    let endpoint = CredentialsEndpoint::start("profile").await;
    let changed = [
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &endpoint.url),
        (
            "AWS_CONTAINER_AUTHORIZATION_TOKEN",
            CredentialsEndpoint::AUTHORIZATION,
        ),
    ];
    let lambda = world.another_lambda(binaries(), "profile", &changed);
    let status = async || {
        let event = event("profile", &account.access);
        let answer = lambda.invoke(event.to_string().into()).await;
        answer_of(&answer.expect("an answer")).0
    };

    endpoint.hand_out("first", Duration::from_secs(3));
    let before = status().await;
    endpoint.hand_out("second", Duration::from_secs(3600));
    faulty.expire("first");
    let after = (status().await, status().await);

    assert_eq!((before, after), (200, (200, 200)));
    assert_eq!(
        endpoint.asked(),
        2,
        "credentials are kept until they expire"
    );
    lambda.stop().await;
}

/// `lambda_http` builds a URL from these values and panics if they are invalid; no endpoint needs them.
#[tokio::test]
async fn an_event_whose_host_scheme_path_or_query_is_none_is_answered_like_any_other() {
    let Some(world) = World::inside() else { return };
    let account = world.client().register().await;
    let odd = |name: &str, value: &str| {
        let mut event = event("profile", &account.access);
        let member = event.pointer_mut(name);
        *member.unwrap_or_else(|| panic!("{name}")) = json!(value);
        event
    };
    for event in [
        odd("/headers/host", "no host"),
        odd("/headers/host", "[::1"),
        odd("/headers/host", "a:b:c"),
        odd("/headers/x-forwarded-proto", "no scheme"),
        odd("/headers/x-forwarded-proto", ""),
        odd("/requestContext/domainName", "no host"),
        odd("/requestContext/stage", "a b"),
        odd("/rawPath", "@:x"),
        odd("/rawPath", ":80000"),
        odd("/rawPath", &format!("/{}", "x".repeat(70_000))),
        odd("/rawQueryString", "a b\u{7f}<\"{"),
        odd("/rawQueryString", &"x".repeat(70_000)),
    ] {
        let answer = world
            .local()
            .invoke("profile", event.to_string().into())
            .await;

        let (status, body, _) = answer_of(&answer.expect("an answer"));
        assert_eq!(status, 200, "{event} {body}");
    }
    let mut no_base64 = event("login", "");
    no_base64["isBase64Encoded"] = json!(true);
    no_base64["body"] = json!("{ no JSON }");
    let answer = world
        .local()
        .invoke("login", no_base64.to_string().into())
        .await;
    let (status, body, _) = answer_of(&answer.expect("an answer"));
    assert_eq!((status, &body["error"]), (400, &json!("malformed_json")));
    assert_eq!(
        world.local().idle_processes("profile").len(),
        1,
        "still the first process"
    );
}

/// An event that is not a request to an HTTP API matches no route, and is not an error that wakes somebody up.
#[tokio::test]
async fn an_event_of_another_kind_is_a_404_and_no_alarm() {
    let Some(world) = World::inside() else { return };
    let functions = world.local().info().functions.iter();
    let http_api = functions.filter(|(_, routes)| !routes.is_empty());
    let rest = json!({
        "version": "1.0", "resource": "/login", "path": "/login", "httpMethod": "POST", "headers": { "host": "x" },
        "multiValueHeaders": {}, "queryStringParameters": null, "multiValueQueryStringParameters": null,
        "pathParameters": null, "stageVariables": null, "body": "{}", "isBase64Encoded": false,
        "requestContext": {
            "accountId": "123456789012", "apiId": "x", "httpMethod": "POST", "path": "/login", "requestId": "a-rest-request",
            "resourcePath": "/login", "stage": "prod", "identity": { "sourceIp": "192.0.2.1" },
        },
    });
    let load_balancer = json!({
        "requestContext": { "elb": { "targetGroupArn": "arn:aws:elasticloadbalancing:us-east-1:1:targetgroup/x/1" } },
        "httpMethod": "POST", "path": "/login", "queryStringParameters": {}, "headers": { "host": "x" }, "body": "{}",
        "isBase64Encoded": false,
    });
    let schedule = json!({
        "version": "0", "id": "1", "detail-type": "Scheduled Event", "source": "aws.events", "account": "1",
        "time": "2026-11-21T10:00:00Z", "region": "us-east-1", "resources": [], "detail": {},
    });
    let events = [
        rest,
        load_balancer,
        schedule,
        json!({ "warmup": true }),
        json!({}),
    ];
    for (function, _) in http_api {
        for event in &events {
            let answer = world
                .local()
                .invoke(function, event.to_string().into())
                .await;

            let (status, body, headers) = answer_of(&answer.expect("an answer"));
            assert_eq!(
                (status, &body["error"]),
                (404, &json!("not_found")),
                "{function} {event}"
            );
            assert_eq!(headers["cache-control"], "no-store");
            assert_eq!(headers["x-request-id"], body["requestId"]);
            assert!(
                body["requestId"].as_str().is_some_and(|id| !id.is_empty()),
                "{body}"
            );
        }
    }
    let log = world.log();
    assert!(!log.iter().any(|line| line["level"] == "ERROR"), "{log:?}");
}

/// Returns the function's sample event with this access token.
fn event(function: &str, access: &str) -> Value {
    let file = build::workspace().join(format!("events/{function}.json"));
    let mut event: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    event["headers"]["authorization"] = json!(format!("Bearer {access}"));
    event["headers"]["x-forwarded-proto"] = json!("https");
    event
}

/// Splits a function's answer to the gateway into the status, the body and the headers.
fn answer_of(answer: &[u8]) -> (u64, Value, Value) {
    let answer: Value = serde_json::from_slice(answer).unwrap();
    let body = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    (
        answer["statusCode"].as_u64().unwrap(),
        body,
        answer["headers"].clone(),
    )
}

/// A single write may conflict with a transaction on the same item.
#[tokio::test]
async fn a_write_that_meets_a_transaction_is_tried_again() {
    let Some((world, faulty)) = World::build().behind_faulty_dynamodb().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;

    faulty.fail(vec![Fault::write_conflict("PutItem"); 3]);
    let answer = client.logout(&account.access).await;

    assert_eq!((answer.status.as_u16(), faulty.faults_left()), (200, 0));
}

#[tokio::test]
async fn redis_that_is_out_of_memory_is_unavailability() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let set = |limit: &str| -> () {
        let mut command = redis::cmd("CONFIG");
        let command = command.arg("SET").arg("maxmemory").arg(limit);
        command.query(&mut world.redis()).unwrap()
    };

    set("1");
    let answer = client.try_login(&account.email, &account.password).await;
    set("0");

    assert_eq!(answer.code(), "service_unavailable");
    client.login(&account).await;
}

#[tokio::test]
async fn throttling_that_does_not_end_is_unavailability() {
    let Some((world, faulty)) = World::build().behind_faulty_dynamodb().await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;

    faulty.fail(vec![Fault::throttled("GetItem"); 20]);
    let answer = client.profile(&account.access).await;

    assert_eq!(answer.code(), "service_unavailable");
}

#[tokio::test]
async fn a_panic_is_one_500_and_the_same_process_serves_the_next_request() {
    let Some(world) = World::build().fixture().start() else {
        return;
    };
    let client = world.client();

    for _ in 0..3 {
        let answer = client
            .send(client.request(Method::GET, "/fixture/panic"))
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (500, "internal_error")
        );
    }

    assert_eq!(
        client
            .send(client.request(Method::GET, "/fixture/optional"))
            .await
            .status,
        200
    );
    let cold_starts = world
        .log()
        .iter()
        .filter(|line| line.get("ColdStarts").is_some())
        .count();
    assert_eq!(cold_starts, 1, "no new process");
    let log = world.log();
    assert!(
        log.iter().any(|line| line["message"] == "panic"
            && line["location"].as_str().unwrap().contains("main.rs"))
    );
    let text = world.log_lines().join("\n");
    assert!(
        !text.contains("with a secret"),
        "the panic's message is in the log: {text}"
    );
}

#[tokio::test]
async fn a_panic_over_an_event_fails_it_alone_without_the_message() {
    let Some(world) = World::build().fixture().start() else {
        return;
    };
    let invoke = async |event: &str| {
        let event = json!(event).to_string().into();
        world.local().invoke("fixture-events", event).await
    };

    let failed = invoke("panic").await;

    assert_eq!(failed, Err(InvokeError::Failed));
    assert_eq!(invoke("next").await.expect("an answer"), br#""next""#);
    let log = world.log();
    let mut errors = log.iter().filter(|line| line["level"] == "ERROR");
    assert_eq!(errors.next().unwrap()["message"], "panic");
    let failure = errors.next().unwrap();
    assert_eq!(failure["cause"], "the handler panicked");
    assert!(failure["request_id"].is_string() && failure["trace_id"].is_string());
    assert_eq!(
        (failure["function"].as_str(), errors.next()),
        (Some("fixture-events"), None)
    );
    let text = world.log_lines().join("\n");
    assert!(!text.contains("with a secret"), "{text}");
}

#[tokio::test]
async fn a_process_that_crashes_or_hangs_is_replaced() {
    let Some(world) = World::build().fixture().start() else {
        return;
    };
    let client = world.client();
    let get = async |what: &str| {
        let response = client
            .request(Method::GET, &format!("/fixture/{what}"))
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };

    let started = Instant::now();
    let waited = client
        .send(client.request(Method::GET, "/fixture/wait"))
        .await;
    let took = started.elapsed();
    let crashed = get("crash").await;
    let hung = get("hang").await;

    assert_eq!(
        waited.code(),
        "service_unavailable",
        "the function's own deadline"
    );
    assert!(took < LIMIT, "{took:?}");
    assert_eq!(
        crashed,
        (500, r#"{"message":"Internal Server Error"}"#.to_owned())
    );
    assert_eq!(
        hung,
        (503, r#"{"message":"Service Unavailable"}"#.to_owned())
    );
    assert_eq!(get("optional").await.0, 200);
}

#[tokio::test]
async fn sigterm_lets_the_request_in_hand_finish_and_then_ends_the_process() {
    let Some(world) = World::build().fixture().start() else {
        return;
    };
    let client = world.client();
    let process = world.local().idle_processes("fixture")[0];
    let slow = client.request(Method::GET, "/fixture/slow");
    let slow = tokio::spawn(async move { client.send(slow).await });
    until("the request arrives", async || {
        let lines = world.local().log_lines();
        lines.iter().any(|line| line.contains("slow begins"))
    })
    .await;

    rustix::process::kill_process(Pid::from_raw(process.cast_signed()).unwrap(), Signal::TERM)
        .unwrap();

    assert_eq!(slow.await.unwrap().status, 200);
    until("the process ends", async || {
        let log = world.log();
        log.iter()
            .any(|line| line["message"] == "stopped by SIGTERM")
    })
    .await;
    let next = world.client();
    assert_eq!(
        next.send(next.request(Method::GET, "/fixture/optional"))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_malformed_event_crashes_nothing() {
    let Some(world) = World::inside() else { return };
    let local = world.local();
    for function in local.info().functions.keys() {
        for event in [
            "{}",
            "null",
            "[]",
            "\"text\"",
            r#"{"version":"2.0"}"#,
            r#"{"Records":[]}"#,
            "not JSON",
        ] {
            let answer = local.invoke(function, event.as_bytes().to_vec()).await;

            // The runtime fails for an event that is not a request; an incomplete request is answered. The answer
            // `null` means that there was nothing to mark.
            let is_answer = |answer: &Vec<u8>| answer.starts_with(b"{") || answer == b"null";
            let is_answered = answer.as_ref().is_ok_and(is_answer);
            assert!(
                is_answered || answer == Err(InvokeError::Failed),
                "{function} {event}: {answer:?}"
            );
        }
        assert_eq!(
            local.idle_processes(function).len(),
            1,
            "{function}: still the first process"
        );
    }
    world.client().register().await;
}

/// The TLS handshake takes place while the environment starts, where it delays no request. A failed handshake does not
/// keep a function from starting.
#[tokio::test]
async fn redis_over_tls_is_greeted_before_the_first_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let greeted = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap()
    });

    let world = World::build().variable("REDIS_URL", &format!("rediss://{address}"));
    let Some(world) = world.start() else { return };

    const HANDSHAKE: u8 = 22; // RFC 8446, 5.1
    assert_eq!(greeted.await.unwrap(), HANDSHAKE);
    let body = json!({ "email": unique_email(), "password": unique_password() });
    let answer = world.client().post("/api/auth/login", body).await;
    assert_eq!(answer.code(), "service_unavailable");
}
