//! The function `mailer`: from the outbox, through the table's stream, to SES.

use harness::client::{unique_email, unique_password};
use harness::dynamodb::stream_record;
use harness::peers::Fault;
use harness::smtp::SmtpServer;
use harness::world::is_inside;
use harness::{Account, World, token, until};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn the_mailed_link_verifies_the_address() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;

    let mail = world.mail(&account.email, "Verify your address").await;

    assert_eq!(mail.from, "no-reply@example.com");
    let token = token::in_mail(&mail);
    let link = format!("{}/_local/verify-email#token={token}", world.url());
    assert!(
        mail.text.contains(&link) && mail.html.contains(&link),
        "{}",
        mail.text
    );
    let rejection = world.rejection_token(&account.email).await;
    let link = format!("{}/_local/reject-email#token={rejection}\n", world.url());
    assert!(
        mail.text.contains(&link),
        "the link is missing, or has a parameter: {}",
        mail.text
    );
    // The time and the origin, for a reader who has not registered.
    let origin = "UTC, from 127.0.1.1 (an unknown program)";
    assert!(mail.text.contains(origin), "{}", mail.text);
    client.verify_email(&account, &token).await;
    let outbox = world.dynamodb().items("OUTBOX#").await;
    assert!(outbox[0]["sent_at"]["S"].is_string(), "{outbox:?}");
}

/// A request chooses by its origin among the front ends that are configured, and no other place.
#[tokio::test]
async fn links_lead_to_the_front_end_that_asked() {
    let frontends = "https://app.example.com,https://admin.example.com/account/";
    let world = World::build().variable("FRONTEND_URL", frontends).start();
    let Some(world) = world else { return };
    let client = world.client();
    for (origin, base) in [
        (None, "https://app.example.com"),
        (Some("https://app.example.com"), "https://app.example.com"),
        (
            Some("https://admin.example.com"),
            "https://admin.example.com/account",
        ),
        (Some("https://evil.example"), "https://app.example.com"),
        (
            Some("https://admin.example.com.evil.example"),
            "https://app.example.com",
        ),
    ] {
        let body = json!({ "email": unique_email(), "password": unique_password() });
        let register = client.request(Method::POST, "/api/auth/register");
        let register = origin.into_iter().fold(register, |register, origin| {
            register.header("origin", origin)
        });
        let answer = client.send(register.json(&body)).await;
        assert_eq!(answer.status, 201, "{origin:?}");

        let mail = world.mail(body["email"].as_str().unwrap(), "Verify").await;

        for page in ["verify-email", "reject-email"] {
            let link = format!("{base}/{page}#token=");
            assert!(mail.text.contains(&link), "{origin:?}: {}", mail.text);
            assert!(mail.html.contains(&link), "{origin:?}: {}", mail.html);
        }
    }
}

/// security.md 30.
#[tokio::test]
async fn resets_changes_and_deletions_send_their_mails() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let email = &account.email;
    client.request_reset(email).await;
    let reset = world.mail(email, "Reset your").await;
    let (new, newer) = (unique_password(), unique_password());

    let body = json!({ "token": token::in_mail(&reset), "newPassword": new });
    assert_eq!(client.post("/reset-password", body).await.status, 200);
    world.mail(email, "password was reset").await;
    let account = Account {
        password: new.clone(),
        ..account.clone()
    };
    let (access, _) = client.login(&account).await;
    world.mail(email, "new device").await; // all sessions were ended, so none has this address any more
    let body = json!({ "currentPassword": new, "newPassword": newer });
    client.change_password(&access, body).await;
    world.mail(email, "password was changed").await;
    client.delete_account(&access, &newer).await;
    world.mail(email, "account was deleted").await;

    let mails = world.local().mails();
    assert_eq!(
        mails
            .iter()
            .filter(|mail| mail.to == [email.as_str()])
            .count(),
        6
    );
    let links = mails
        .iter()
        .filter(|mail| mail.text.contains("#token="))
        .count();
    assert_eq!(links, 2, "links in the mails to verify and to reset");
}

#[tokio::test]
async fn mails_speak_the_readers_language_and_a_name_stays_text() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let email = unique_email();
    let body = json!({ "email": email, "password": unique_password(), "name": "<script>alert(1)</script>" });
    let german = async |path: &str, body: Value| {
        let request = client.request(reqwest::Method::POST, path);
        let request = request.header("accept-language", "de").json(&body);
        client.send(request).await
    };
    german("/api/auth/register", body.clone()).await;
    let mail = world.mail(&email, "Bestätigen Sie Ihre Adresse").await;
    let body = json!({ "token": token::in_mail(&mail), "password": body["password"] });
    assert_eq!(german("/api/auth/verify-email", body).await.status, 200);

    german("/forgot-password", json!({ "email": email })).await;

    let mail = world.mail(&email, "Setzen Sie Ihr").await;
    assert!(!mail.html.contains("<script>"), "{}", mail.html);
    assert!(
        mail.text.contains("<script>alert(1)</script>"),
        "{}",
        mail.text
    );
}

/// security.md S5: otherwise, somebody who registers a stranger's address could choose what the stranger reads.
#[tokio::test]
async fn a_mail_to_an_address_that_nobody_has_proven_has_no_name_in_it() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let (email, password) = (unique_email(), unique_password());
    let body = json!({ "email": email, "password": password, "name": "Your prize waits" });
    client.post("/api/auth/register", body).await;
    client.request_reset(&email).await;
    let verify = world.mail(&email, "Verify").await;
    let reset = world.mail(&email, "Reset your").await;

    let body = json!({ "token": token::in_mail(&verify), "password": password });
    assert_eq!(
        client.post("/api/auth/verify-email", body).await.status,
        200
    );
    let other = world.client();
    let body = json!({ "email": email, "password": password });
    other.post("/api/auth/login", body).await;
    client.request_reset(&email).await;
    until("the second link", async || {
        let mails = world.local().mails();
        let named = mails
            .iter()
            .filter(|mail| mail.text.contains("Your prize waits"));
        named.count() >= 1
    })
    .await;

    for mail in [&verify, &reset] {
        assert!(mail.text.starts_with("Hello,\n"), "{}", mail.text);
        assert!(!mail.html.contains("prize"), "{}", mail.html);
    }
}

#[tokio::test]
async fn a_mail_goes_to_the_ascii_form_of_the_domain() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let name = harness::client::unique("Ada.");
    let typed = format!("{name}@bücher.example");
    let password = unique_password();

    let body = json!({ "email": typed, "password": password });
    let answer = client.post("/api/auth/register", body.clone()).await;

    assert_eq!(answer["user"]["email"], typed, "shown as typed");
    world
        .mail(&format!("{name}@xn--bcher-kva.example"), "Verify")
        .await;
    let ascii = format!("{name}@XN--BCHER-KVA.example");
    assert_eq!(client.try_login(&ascii, &password).await.status, 200);
}

#[tokio::test]
async fn a_mail_that_is_refused_for_now_is_tried_again_and_sent_once() {
    let Some((world, faulty)) = World::build().behind_faulty_ses().await else {
        return;
    };
    faulty.fail([
        Fault::mail(429, "TooManyRequestsException"),
        Fault::mail(503, "ServiceUnavailable"),
        Fault::mail(400, "SendingPausedException"),
    ]);

    let account = world.client().register().await;

    world.mail(&account.email, "Verify").await;
    assert_eq!(faulty.faults_left(), 0);
    assert_eq!(world.local().mails().len(), 1);
    assert!(world.local().dead_letters().is_empty());
}

#[tokio::test]
async fn a_mail_that_will_never_be_accepted_is_not_tried_again_and_delays_no_other() {
    let Some((world, faulty)) = World::build().behind_faulty_ses().await else {
        return;
    };
    faulty.fail([Fault::mail(400, "MessageRejected")]);
    let client = world.client();

    let refused = client.register().await;
    until("the first mail is tried", async || {
        faulty.faults_left() == 0
    })
    .await;
    let behind = client.register().await;

    world.mail(&behind.email, "Verify").await;
    assert_eq!(
        world.local().mails().len(),
        1,
        "the refused mail is given up"
    );
    assert!(world.local().dead_letters().is_empty());
    let outbox = world.dynamodb().items("OUTBOX#").await;
    let entry = outbox
        .iter()
        .find(|entry| entry["to"]["S"] == refused.email);
    assert_eq!(entry.unwrap()["given_up"]["S"], "MessageRejected");
}

/// SES is down for longer than the stream keeps a record: the entry stays, the dead-letter queue gets a message, and
/// later mails are sent.
#[tokio::test]
async fn a_mail_that_waited_for_too_long_goes_to_the_dead_letters_and_those_behind_are_sent() {
    let world = World::build().template(
        "MaximumRecordAgeInSeconds: 79200",
        "MaximumRecordAgeInSeconds: 1",
    );
    let Some((world, faulty)) = world.behind_faulty_ses().await else {
        return;
    };
    faulty.fail(vec![Fault::mail(503, "ServiceUnavailable"); 500]);
    let client = world.client();

    let lost = client.register().await;
    until("the end of trying", async || {
        !world.local().dead_letters().is_empty()
    })
    .await;
    faulty.recover();
    let behind = client.register().await;

    world.mail(&behind.email, "Verify").await;
    assert_eq!(world.local().mails().len(), 1);
    let dead = world.local().dead_letters();
    assert_eq!(dead.len(), 1, "{dead:?}");
    let outbox = world.dynamodb().items("OUTBOX#").await;
    let entry = outbox
        .iter()
        .find(|entry| entry["to"]["S"] == lost.email)
        .unwrap();
    assert_eq!(
        entry["pk"], dead[0]["dynamodb"]["Keys"]["pk"],
        "the entry still exists"
    );
    assert!(entry.get("sent_at").is_none() && entry.get("given_up").is_none());
}

/// SES has sent the mail, but its answer was lost: the mail is sent again, and is identical to the first one.
#[tokio::test]
async fn a_mail_whose_answer_is_lost_is_the_same_to_the_letter_the_second_time() {
    let Some((world, faulty)) = World::build().behind_faulty_ses().await else {
        return;
    };
    faulty.fail([Fault::lost_answer("/v2/email/outbound-emails")]);

    let account = world.client().register().await;

    world.mail(&account.email, "Verify").await;
    until("both have arrived", async || {
        world.local().mails().len() == 2
    })
    .await;
    let mails = world.local().mails();
    assert_eq!(
        (&mails[0].subject, &mails[0].text, &mails[0].html),
        (&mails[1].subject, &mails[1].text, &mails[1].html)
    );
}

async fn stream_event(world: &World) -> Value {
    let records: Vec<Value> = world.dynamodb().items("OUTBOX#").await;
    let record = |(number, image): (usize, Value)| stream_record(&number.to_string(), &image);
    let records: Vec<Value> = records.into_iter().enumerate().map(record).collect();
    json!({ "Records": records })
}

#[tokio::test]
async fn a_batch_that_is_delivered_again_sends_nothing_again() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let (first, second) = (client.register().await, client.register().await);
    world.mail(&first.email, "Verify").await;
    world.mail(&second.email, "Verify").await;
    until("both are noted", async || {
        world
            .log()
            .iter()
            .filter(|line| line["message"] == "mail")
            .count()
            == 2
    })
    .await;
    let event = stream_event(&world).await.to_string().into_bytes();

    for _ in 0..3 {
        let answer = world.local().invoke("mailer", event.clone()).await.unwrap();
        assert_eq!(answer, br#"{"batchItemFailures":[]}"#);
    }

    assert_eq!(world.local().mails().len(), 2);
}

/// The mailer is killed while it waits for SES; another one sends the mail.
#[tokio::test]
async fn a_mailer_that_crashes_in_the_middle_of_a_batch_loses_nothing() {
    let silent = harness::peers::TcpProxy::start("127.0.0.1:9").await;
    silent.set(harness::peers::Mode::Silent);
    let url = format!("http://{}", silent.address);
    let Some(world) = World::build()
        .variable("AWS_ENDPOINT_URL_SESV2", &url)
        .start()
    else {
        return;
    };
    let ses = world.local().info().ses_url.clone();
    silent.set_upstream(ses.trim_start_matches("http://"));
    let mailer = world.local().idle_processes("mailer")[0];
    let account = world.client().register().await;
    until("the mailer is at work", async || {
        world.local().idle_processes("mailer").is_empty()
    })
    .await;

    let pid = rustix::process::Pid::from_raw(mailer.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    silent.set(harness::peers::Mode::Gone);
    silent.set(harness::peers::Mode::Forward);

    world.mail(&account.email, "Verify").await;
    assert_eq!(world.local().mails().len(), 1);
}

#[tokio::test]
async fn an_entry_that_no_code_has_written_is_passed_over() {
    let Some(world) = World::inside() else {
        return;
    };
    let account = world.client().register().await;
    world.mail(&account.email, "Verify").await;
    let key = |pk: &str| json!({ "pk": { "S": pk }, "sk": { "S": "EMAIL" } });
    let mut unknown_kind = world.dynamodb().items("OUTBOX#").await.remove(0);
    unknown_kind["kind"]["S"] = json!("unknown");
    let images = [key("OUTBOX#1"), key("USER#1"), unknown_kind];
    let records = images.map(|image| stream_record("1", &image));
    let event = json!({ "Records": records }).to_string();

    let answer = world
        .local()
        .invoke("mailer", event.into_bytes())
        .await
        .unwrap();

    assert_eq!(answer, br#"{"batchItemFailures":[]}"#);
    assert_eq!(
        world.local().mails().len(),
        1,
        "only the registration's mail"
    );
}

/// A later version may know more languages and then be rolled back to this one.
#[tokio::test]
async fn a_mail_in_a_language_that_is_not_known_is_in_english() {
    let Some(world) = World::inside() else {
        return;
    };
    let account = world.client().register().await;
    world.mail(&account.email, "Verify").await;
    let database = world.dynamodb();
    let mut entry = database.items("OUTBOX#").await.remove(0);
    entry["pk"]["S"] = json!("OUTBOX#01KAJ9W9G0EXAMPLE0EXAMPLE00");
    entry["kind"]["S"] = json!("password_changed");
    entry["language"]["S"] = json!("tlh");
    for progress in ["sent_at", "sending_until"] {
        entry.as_object_mut().unwrap().remove(progress);
    }

    let put = json!({ "TableName": database.users, "Item": entry });
    database.call("PutItem", put).await;

    world.mail(&account.email, "password was changed").await;
}

/// `events/mailer.json`: for an entry that is not in the table (any more), nothing is sent.
#[tokio::test]
async fn the_event_is_answered() {
    let Some(world) = World::inside() else {
        return;
    };
    let event = std::fs::read(local::build::workspace().join("events/mailer.json")).unwrap();

    let answer = world.local().invoke("mailer", event).await.unwrap();

    assert_eq!(answer, br#"{"batchItemFailures":[]}"#);
}

#[tokio::test]
async fn the_inbox_is_served_and_emptied() {
    let Some(world) = World::inside() else {
        return;
    };
    let account = world.client().register().await;
    world.mail(&account.email, "Verify").await;
    let url = format!("{}/_local/mail", world.url());

    let mails: Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
    let deleted = reqwest::Client::new().delete(&url).send().await.unwrap();
    let after: Value = reqwest::get(&url).await.unwrap().json().await.unwrap();

    let fields: Vec<&String> = mails[0].as_object().unwrap().keys().collect();
    assert_eq!(
        fields,
        [
            "from", "headers", "html", "id", "sentAt", "subject", "text", "to"
        ]
    );
    assert_eq!((deleted.status().as_u16(), after), (204, json!([])));
}

async fn through_smtp(server: &SmtpServer) -> Option<World> {
    World::build()
        .variable("SMTP_URL", &server.url())
        .variable("SMTP_CA", &server.ca)
        .variable("EMAIL_FROM", "Gatehouse <no-reply@example.com>")
        .start()
}

/// An SMTP provider instead of SES, with TLS from the first byte and with STARTTLS.
#[tokio::test]
async fn with_an_smtp_server_mails_go_there_over_tls() {
    for server in [SmtpServer::with_implicit_tls(), SmtpServer::with_starttls()] {
        let Some(server) = server else { return };
        let Some(world) = through_smtp(&server).await else {
            return;
        };

        let account = world.client().register().await;

        until("the server has it", async || server.mails().len() == 1).await;
        let mail = &server.mails()[0];
        assert_eq!(mail["to"], json!([account.email]));
        assert_eq!(mail["from"], "no-reply@example.com");
        assert_eq!(mail["headers"]["from"], "Gatehouse <no-reply@example.com>");
        assert_eq!(
            mail["headers"]["subject"],
            "Verify your address for Gatehouse"
        );
        let token = world.mailed_token("verify_email", &account.email).await;
        for form in ["text", "html"] {
            assert!(mail[form].as_str().unwrap().contains(&token), "{mail}");
        }
        assert!(world.local().mails().is_empty(), "nothing goes to SES");
        world.client().verify_email(&account, &token).await;
    }
}

/// The server's replies to RCPT TO and to later commands concern one mail, and do not hold up others.
#[tokio::test]
async fn an_smtp_server_may_refuse_one_recipient_for_now_or_for_ever() {
    let Some(server) = SmtpServer::with_starttls() else {
        return;
    };
    let Some(world) = through_smtp(&server).await else {
        return;
    };
    let client = world.client();
    let register = async |prefix: &str| {
        let email = format!("{prefix}{}", unique_email());
        let body = json!({ "email": email, "password": unique_password() });
        assert_eq!(client.post("/api/auth/register", body).await.status, 201);
        email
    };
    let state = async |email: &str| {
        let outbox = world.dynamodb().items("OUTBOX#").await;
        let entry = outbox.into_iter().find(|entry| entry["to"]["S"] == email);
        entry.unwrap()
    };

    let mut refused = Vec::new();
    for (prefix, code) in [
        ("never-", "550"),
        ("busy-", "450"),
        ("spam-", "554"),
        ("drop-", ""),
    ] {
        refused.push((register(prefix).await, code));
    }
    let later = register("later-").await;
    let behind = register("").await;

    until("the others' mails", async || server.mails().len() == 2).await;
    for email in [&later, &behind] {
        let arrived = server.mails();
        assert!(arrived.iter().any(|mail| mail["to"] == json!([email])));
    }
    for (email, code) in refused {
        until(&email, async || !state(&email).await["given_up"].is_null()).await;
        let entry = state(&email).await;
        let given_up = entry["given_up"]["S"].as_str().unwrap();
        assert!(given_up.contains(code) && !given_up.is_empty(), "{entry}");
        let tries = if ["550", "554"].contains(&code) {
            json!(null)
        } else {
            json!("4")
        };
        assert_eq!(entry["tries"]["N"], tries, "{email}: the number of tries");
    }
    assert!(world.local().dead_letters().is_empty());
}

/// Addresses that an earlier rule accepted: the library refuses one of them, and no server would accept the other.
#[tokio::test]
async fn a_mail_to_what_is_no_address_is_final_and_holds_up_nobody() {
    let Some(server) = SmtpServer::with_starttls() else {
        return;
    };
    let Some(world) = through_smtp(&server).await else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    until("the first mail", async || server.mails().len() == 1).await;
    let database = world.dynamodb();
    let before = database.items("OUTBOX#").await.remove(0);
    for (number, to) in ["ada@example.org\u{200B}", "a..b@docomo.ne.jp", "nobody"]
        .iter()
        .enumerate()
    {
        let mut entry = before.clone();
        entry["pk"]["S"] = json!(format!("OUTBOX#01KAJ9W9G000000000000000{number}0"));
        entry["to"]["S"] = json!(to);
        for progress in ["sent_at", "sending_until"] {
            entry.as_object_mut().unwrap().remove(progress);
        }
        let put = json!({ "TableName": database.users, "Item": entry });
        database.call("PutItem", put).await;
    }

    let behind = client.register().await;

    until("the mail behind them", async || server.mails().len() == 2).await;
    assert_eq!(server.mails()[1]["to"], json!([behind.email]));
    let outbox = database.items("OUTBOX#").await;
    let given_up: Vec<_> = outbox
        .iter()
        .filter(|entry| entry["given_up"]["S"] == "InvalidAddress")
        .collect();
    assert_eq!(given_up.len(), 3, "{outbox:?}");
    assert!(outbox.iter().any(|entry| entry["to"]["S"] == account.email));
}

/// The server's replies before RCPT TO concern our configuration: mails wait until it is fixed.
#[tokio::test]
async fn a_mail_waits_while_the_smtp_server_refuses_the_sender() {
    let Some(server) = SmtpServer::with_implicit_tls() else {
        return;
    };
    let world = World::build()
        .variable("SMTP_URL", &server.url())
        .variable("SMTP_CA", &server.ca)
        .variable("EMAIL_FROM", "patience@example.com");
    let Some(world) = world.start() else { return };

    let account = world.client().register().await;

    until("the fourth try", async || server.mails().len() == 1).await;
    assert_eq!(server.mails()[0]["to"], json!([account.email]));
    let outbox = world.dynamodb().items("OUTBOX#").await;
    assert!(outbox[0].get("given_up").is_none() && outbox[0].get("tries").is_none());
}

/// security.md L8: three mails of a kind per hour, no matter who causes them.
#[tokio::test]
async fn nobody_gets_more_than_three_mails_of_a_kind_an_hour() {
    let Some(world) = World::inside() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let body = json!({ "email": account.email, "password": account.password });
    for device in 0..6 {
        let request = client.request(reqwest::Method::POST, "/api/auth/login");
        let request = request.header("user-agent", format!("device {device}"));
        assert_eq!(client.send(request.json(&body)).await.status, 200);
    }
    // Another kind of mail has a counter of its own.
    let new = unique_password();
    let change = json!({ "currentPassword": account.password, "newPassword": new });
    client.change_password(&account.access, change).await;

    let done = async |kind: &str, how: &str| {
        let outbox = world.dynamodb().items("OUTBOX#").await;
        let of_kind = outbox.iter().filter(|entry| entry["kind"]["S"] == kind);
        of_kind.filter(|entry| !entry[how].is_null()).count()
    };
    until("all are done with", async || {
        done("new_device", "sent_at").await + done("new_device", "given_up").await == 6
    })
    .await;

    assert_eq!(done("new_device", "given_up").await, 3);
    world.mail(&account.email, "password was changed").await;
    let outbox = world.dynamodb().items("OUTBOX#").await;
    let capped = outbox
        .iter()
        .filter(|entry| entry["given_up"]["S"] == "capped");
    assert_eq!(capped.count(), 3);
    let metric = |line: &Value| line["Outcome"] == "capped" && line["Mails"] == 1;
    assert!(
        world.log().iter().any(metric),
        "no metric counts the capped mails"
    );
    let counts = world.dynamodb().items("MAILS#").await;
    let key = format!("MAILS#{}", account.email.to_lowercase());
    assert!(counts.iter().all(|count| count["pk"]["S"] == key));
    assert!(counts.iter().all(|count| count["ttl"]["N"].is_string()));
}

/// Requested links are limited where they are requested, so a stranger cannot use up the mails that the owner will
/// need.
#[tokio::test]
async fn links_that_were_asked_for_are_not_capped_below_their_own_limit() {
    let Some(world) = World::inside() else {
        return;
    };
    let account = world.client().register().await;
    for _ in 0..5 {
        let body = json!({ "email": account.email });
        world.client().post("/forgot-password", body.clone()).await;
        world
            .client()
            .post("/api/auth/verify-email/resend", body)
            .await;
    }

    until("eleven mails", async || world.local().mails().len() == 11).await;
}

#[tokio::test]
async fn the_senders_name_is_an_encoded_word_and_no_program_answers() {
    let Some(server) = SmtpServer::with_implicit_tls() else {
        return;
    };
    let from = "Grüße <no-reply@example.com>";
    let smtp = World::build()
        .variable("SMTP_URL", &server.url())
        .variable("SMTP_CA", &server.ca)
        .variable("EMAIL_FROM", from);
    let Some(smtp) = smtp.start() else { return };
    let Some(ses) = World::build().variable("EMAIL_FROM", from).start() else {
        return;
    };
    let account = ses.client().register().await;

    let mail = ses.mail(&account.email, "Verify").await;
    smtp.client().register().await;
    until("the mail", async || server.mails().len() == 1).await;

    assert_eq!(mail.from, "=?utf-8?b?R3LDvMOfZQ==?= <no-reply@example.com>");
    let headers = &server.mails()[0]["headers"];
    assert_eq!(headers["from"], from, "as a mail program decodes it");
    for (name, value) in [
        ("Auto-Submitted", "auto-generated"),
        ("X-Auto-Response-Suppress", "All"),
    ] {
        assert_eq!(mail.headers[name], value);
        assert_eq!(headers[name.to_lowercase()], value);
    }
}

/// The brand of a team: colour, logo, last line, and the address for answers, through SES and another server alike.
#[tokio::test]
async fn mails_have_the_look_of_the_team() {
    let Some(server) = SmtpServer::with_implicit_tls() else {
        return;
    };
    let branded = || {
        World::build()
            .variable("APP_NAME", "Example & Sons")
            .variable("BRAND_COLOR", "#FFD400")
            .variable("LOGO_URL", "https://cdn.example.com/logo.png?a=1&b=2")
            .variable("MAIL_FOOTER", "Example & Sons, 1 Example Street")
            .variable("EMAIL_REPLY_TO", "Support <support@example.com>")
    };
    let smtp = branded()
        .variable("SMTP_URL", &server.url())
        .variable("SMTP_CA", &server.ca);
    let (Some(smtp), Some(ses)) = (smtp.start(), branded().start()) else {
        return;
    };
    let account = ses.client().register().await;

    let mail = ses.mail(&account.email, "Verify").await;
    smtp.client().register().await;
    until("the mail", async || server.mails().len() == 1).await;

    for part in [
        "background: #ffd400; color: #0b1526",
        "<img src=\"https://cdn.example.com/logo.png?a=1&#38;b=2\" alt=\"Example &#38; Sons\"",
        "Example &#38; Sons, 1 Example Street",
    ] {
        assert!(mail.html.contains(part), "{part}: {}", mail.html);
    }
    let last = mail.text.trim_end().lines().last();
    assert_eq!(last, Some("Example & Sons, 1 Example Street"));
    let account = format!("Account: {}", account.email);
    assert!(mail.text.contains(&account), "{}", mail.text);
    let reply_to = "Support <support@example.com>";
    assert_eq!(mail.headers["Reply-To"], reply_to);
    assert_eq!(server.mails()[0]["headers"]["reply-to"], reply_to);
}

/// The files in a folder replace the built-in ones; all others stay.
#[tokio::test]
async fn a_team_replaces_a_template_and_a_text() {
    if !is_inside() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let template = "{{ greeting }}\n{% if button %}OURS {{ kind }}: {{ button.label }} {{ button.link }}{% endif %}";
    std::fs::write(folder.path().join("message.txt"), template).unwrap();
    let texts = r#"{ "letters": { "verify_email": { "button": "Come in & verify" } } }"#;
    std::fs::write(folder.path().join("en.json"), texts).unwrap();
    let world = World::build().variable("MAIL_TEMPLATES", folder.path().to_str().unwrap());
    let Some(world) = world.start() else { return };

    let account = world.client().register().await;
    let mail = world.mail(&account.email, "Verify your address").await;

    let link = format!("{}/_local/verify-email#token=", world.url());
    let ours = format!("Hello,\nOURS verify_email: Come in & verify {link}");
    assert!(mail.text.starts_with(&ours), "{}", mail.text);
    assert!(mail.html.starts_with("<!doctype html>"), "{}", mail.html);
    assert!(mail.html.contains(">Come in &#38; verify</a>"));
    assert!(mail.html.contains("remove the account"), "{}", mail.html);
}

#[test]
fn a_template_or_a_text_with_a_mistake_keeps_the_mailer_from_starting() {
    if !is_inside() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let template = "{{ greeting }}\n{{ paragraf }}";
    std::fs::write(folder.path().join("message.html"), template).unwrap();
    let texts = r#"{ "letters": { "verify_emial": {} } }"#;
    std::fs::write(folder.path().join("de.json"), texts).unwrap();
    let path = folder.path().to_str().unwrap();

    let world = World::build().variable("MAIL_TEMPLATES", path).try_start();

    let error = world.err().expect("an error at the start");
    let expected = "MAIL_TEMPLATES: de.json: letters.verify_emial is unknown";
    assert!(error.contains(expected), "{error}");
    std::fs::remove_file(folder.path().join("de.json")).unwrap();
    let world = World::build().variable("MAIL_TEMPLATES", path).try_start();
    let error = world.err().expect("an error at the start");
    let expected = "MAIL_TEMPLATES: message.html: line 2: undefined value, `paragraf` is undefined";
    assert!(error.contains(expected), "{error}");
}

/// Notices lead to the page where their reader can do something: the front end that was used, or one page for all. The
/// link proves nothing, so whoever reads the mail later can do nothing with it.
#[tokio::test]
async fn every_notice_leads_to_the_account() {
    let frontends = "https://app.example.com,https://admin.example.com/account/";
    let page = "https://app.example.com/settings?tab=security#devices";
    for (security_url, expected) in [("", "https://admin.example.com/account"), (page, page)] {
        let world = World::build()
            .variable("FRONTEND_URL", frontends)
            .variable("SECURITY_URL", security_url);
        let Some(world) = world.start() else { return };
        let account = world.client().register().await;
        world.mail(&account.email, "Verify").await;
        let database = world.dynamodb();
        let mut entry = database.items("OUTBOX#").await.remove(0);
        let entry_of = entry.as_object_mut().unwrap();
        for other in ["sent_at", "sending_until", "rejection_token_id", "has_code"] {
            entry_of.remove(other);
        }
        entry["origin"] = json!({ "S": "https://admin.example.com" });
        for (number, (kind, has_link)) in [
            ("new_device", true),
            ("password_changed", true),
            ("password_was_reset", true),
            ("two_factor_off", true),
            ("two_factor_locked", true),
            ("passkey_added", true),
            ("passkey_removed", true),
            ("passkey_copied", true),
            ("backup_code_used", true),
            ("session_used_elsewhere", true),
            ("account_deleted", false),
        ]
        .into_iter()
        .enumerate()
        {
            let to = unique_email(); // an address gets ten mails a day
            entry["pk"]["S"] = json!(format!("OUTBOX#01KAJ9W9G00000000000000{number:03}"));
            entry["kind"]["S"] = json!(kind);
            entry["to"]["S"] = json!(to);
            let put = json!({ "TableName": database.users, "Item": entry });
            database.call("PutItem", put).await;

            let mail = world.mail(&to, "").await;

            let text = format!("\nCheck your account:\n{expected}\n");
            assert_eq!(mail.text.contains(&text), has_link, "{}", mail.text);
            let html = format!("href=\"{expected}\">Check your account</a>");
            assert_eq!(mail.html.contains(&html), has_link, "{}", mail.html);
            assert!(!mail.text.contains("token="), "{}", mail.text);
        }
    }
}

#[test]
fn a_look_that_is_none_keeps_the_mailer_from_starting() {
    for (name, value) in [
        ("BRAND_COLOR", "red"),
        ("LOGO_URL", "http://cdn.example.com/logo.png"),
        ("MAIL_FOOTER", "a\nb"),
        ("EMAIL_REPLY_TO", "support"),
        ("SECURITY_URL", "javascript:alert(1)"),
    ] {
        let world = World::build().variable(name, value).try_start();
        let error = world.err().expect("an error at the start");
        assert!(error.contains(&format!("{name} must be")), "{error}");
    }
}

/// With a wrong password, or a server with an untrusted certificate, the mail waits and the log says why.
#[tokio::test]
async fn a_mail_waits_while_the_smtp_server_cannot_be_used() {
    let Some(server) = SmtpServer::with_starttls() else {
        return;
    };
    let settings = [
        (server.url_with("wrong"), server.ca.clone(), "535"),
        (server.url(), String::new(), "UnknownIssuer"),
    ];
    for (url, ca, code) in settings {
        let world = World::build()
            .variable("SMTP_URL", &url)
            .variable("SMTP_CA", &ca);
        let Some(world) = world.start() else { return };

        world.client().register().await;

        let failed = |line: &Value| {
            let says = line["code"]
                .as_str()
                .is_some_and(|text| text.contains(code));
            line["outcome"] == "failed" && says
        };
        until(code, async || world.log().iter().any(failed)).await;
        let outbox = world.dynamodb().items("OUTBOX#").await;
        assert!(outbox[0].get("given_up").is_none() && outbox[0].get("sent_at").is_none());
        assert!(server.mails().is_empty());
    }
}
