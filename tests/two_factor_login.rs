//! Login with a second factor.

use harness::authenticator::step;
use harness::client::unique_password;
use harness::peers::Fault;
use harness::{Account, Answer, Authenticator, Client, World};
use serde_json::{Value, json};

async fn login(client: &Client, account: &Account, code: Option<&str>) -> Answer {
    let mut body = json!({ "email": account.email, "password": account.password });
    if let Some(code) = code {
        body["twoFactorToken"] = json!(code);
    }
    client.post("/api/auth/login", body).await
}

async fn enrolled(world: &World) -> (Client, Account, Authenticator, Vec<String>) {
    let client = world.client();
    let account = client.register().await;
    let (app, codes) = client.enrol(&account).await;
    (client, account, app, codes)
}

/// Signs in nine times at once with the same code. A first round starts the processes, so that the requests overlap.
async fn nine_at_once(client: &Client, account: &Account, code: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    for code in [None, Some(code)] {
        let trying: Vec<_> = (0..9)
            .map(|_| {
                let (client, account) = (client.clone(), account.clone());
                let code = code.map(str::to_owned);
                tokio::spawn(async move { login(&client, &account, code.as_deref()).await })
            })
            .collect();
        answers.clear();
        for answer in trying {
            answers.push(answer.await.unwrap());
        }
    }
    answers
}

#[tokio::test]
async fn the_right_password_alone_learns_that_a_code_is_needed_and_nothing_else() {
    let Some(world) = World::inside() else { return };
    let (client, account, mut app, _) = enrolled(&world).await;

    let without = login(&client, &account, None).await;
    let wrong_password = client.try_login(&account.email, "Wrong-7-horse").await;
    let body = json!({ "email": account.email, "password": "Wrong-7-horse", "twoFactorToken": app.code(step() + 1) });
    let wrong_with_code = client.post("/api/auth/login", body).await;
    let right = login(&client, &account, Some(&app.next().await)).await;

    assert_eq!(without.code(), "two_factor_required");
    let fields: Vec<&String> = without.body.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["docs", "error", "message", "requestId", "success"]);
    assert_eq!(wrong_password.code(), "invalid_credentials");
    assert_eq!(
        wrong_with_code.code(),
        "invalid_credentials",
        "the code is not checked"
    );
    assert_eq!(right.status, 200, "{right:?}");
    assert_eq!(right["user"]["twoFactorEnabled"], true);
    // It is worth knowing that somebody has the password.
    let entries = world.dynamodb().audit(&account.id).await;
    let failures = entries
        .iter()
        .filter(|(event, outcome)| event == "login" && outcome == "failure");
    assert_eq!(failures.count(), 3);
}

/// security.md 32.
#[tokio::test]
async fn a_code_works_once_also_in_parallel_and_none_before_it() {
    let Some(world) = World::inside() else { return };
    let (client, account, mut app, _) = enrolled(&world).await;
    app.forget(&world, &account.id).await;
    let (before, code) = (app.code(step() - 1), app.next().await);

    let mut passed = 0;
    for answer in nine_at_once(&client, &account, &code).await {
        passed += usize::from(answer.status == 200);
        // Each attempt was counted before the others were decided.
        let refusals = ["", "two_factor_invalid", "account_locked"];
        assert!(refusals.contains(&answer.code()), "{answer:?}");
    }

    assert_eq!(passed, 1);
    assert_eq!(
        login(&client, &account, Some(&before)).await.code(),
        "two_factor_invalid"
    );
}

/// security.md 34.
#[tokio::test]
async fn a_backup_code_works_once_also_in_parallel_and_tells_the_owner() {
    let Some(world) = World::inside() else { return };
    let (client, account, _, codes) = enrolled(&world).await;

    let mut access = None;
    for answer in nine_at_once(&client, &account, &codes[0]).await {
        if answer.status == 200 {
            assert!(
                access.replace(answer.text("accessToken")).is_none(),
                "only once"
            );
        }
    }

    let access = access.expect("a successful login");
    assert_eq!(
        client.profile(&account.access).await.code(),
        "token_revoked"
    );
    let profile = client.profile(&access).await;
    assert_eq!(profile["twoFactor"]["backupCodesLeft"], 9);
    world.mail(&account.email, "backup code was used").await;
    assert_eq!(world.mails("backup_code_used", &account.email).await, 1);
    let typed = codes[1].to_lowercase().replace('-', " ");
    assert_eq!(
        login(&client, &account, Some(&typed)).await.status,
        200,
        "a backup code as people type it"
    );
}

/// security.md 33: both kinds of code have one counter, and the right password does not reset it.
#[tokio::test]
async fn ten_wrong_codes_lock_the_second_factor_whatever_their_kind() {
    let Some(world) = World::inside() else { return };
    let (client, account, mut app, codes) = enrolled(&world).await;
    for number in 0..10 {
        let wrong = match number % 2 {
            0 => app.code(step() + 7 + number),
            _ => "0000-0000-0000-0000".to_owned(),
        };
        let answer = login(&world.client(), &account, Some(&wrong)).await;
        assert_eq!(answer.code(), "two_factor_invalid", "{number}");
        // A right password in between.
        assert_eq!(
            login(&client, &account, None).await.code(),
            "two_factor_required"
        );
    }

    for right in [app.next().await, codes[0].clone()] {
        let answer = login(&world.client(), &account, Some(&right)).await;

        assert_eq!(answer.code(), "account_locked");
        let (policy, left, _) = answer.rate_limit().unwrap();
        assert_eq!((policy.as_str(), left), ("two-factor-lockout", 0));
    }
    let disable = json!({ "token": codes[0] });
    let disable = client.disable_two_factor(&account.access, disable).await;
    assert_eq!(
        disable.code(),
        "account_locked",
        "locked at other endpoints as well"
    );
    assert_eq!(client.profile(&account.access).await.status, 200);
}

/// security I1, bugs 8.
#[tokio::test]
async fn wrong_codes_of_ones_own_account_lock_no_neighbour() {
    let Some(world) = World::inside() else { return };
    let (_, account, app, _) = enrolled(&world).await;
    let (_, neighbour, mut neighbours_app, _) = enrolled(&world).await;
    let office = world.client();
    for number in 0..10 {
        let wrong = app.code(step() + 7 + number);
        assert_eq!(
            login(&office, &account, Some(&wrong)).await.code(),
            "two_factor_invalid"
        );
    }

    let own = login(&office, &account, Some(&app.code(step() + 20))).await;
    let code = neighbours_app.next().await;
    let neighbours = login(&office, &neighbour, Some(&code)).await;

    assert_eq!(own.code(), "account_locked");
    assert_eq!(neighbours.status, 200, "{neighbours:?}");
}

/// One address against many accounts; a success at one account does not forgive the failures at others.
#[tokio::test]
async fn wrong_codes_for_ten_accounts_lock_an_address_out() {
    let Some(world) = World::inside() else { return };
    let (_, own, mut own_app, _) = enrolled(&world).await;
    let attacker = world.client();
    let mut last = None;
    for number in 0..11 {
        let (_, account, mut app, _) = enrolled(&world).await;
        let wrong = login(&attacker, &account, Some(&app.code(step() + 7))).await;
        let code = match number {
            10 => "account_locked",
            _ => "two_factor_invalid",
        };
        assert_eq!(wrong.code(), code, "{number}");
        if number == 5 {
            let success = login(&attacker, &own, Some(&own_app.next().await)).await;
            assert_eq!(success.status, 200, "{success:?}");
        }
        last = Some((account, app.next().await));
    }
    let (account, code) = last.unwrap();

    let elsewhere = login(&world.client(), &account, Some(&code)).await;

    assert_eq!(elsewhere.status, 200, "{elsewhere:?}");
}

/// bugs (newcomer, 20:02:45): a user who sends the code of the enrolment again is told to wait for the next one.
#[tokio::test]
async fn a_code_that_was_used_is_told_apart_and_is_no_guess() {
    let Some(world) = World::inside() else { return };
    let (client, account, mut app, codes) = enrolled(&world).await;
    let used = app.last();
    for _ in 0..12 {
        let answer = login(&client, &account, Some(&used)).await;

        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (401, "two_factor_invalid")
        );
        assert!(answer["message"].as_str().unwrap().contains("used"));
    }
    let wrong = login(&client, &account, Some(&app.code(step() + 9))).await;
    assert!(!wrong["message"].as_str().unwrap().contains("used"));
    let body =
        json!({ "email": account.email, "password": "Wrong-7-horse", "twoFactorToken": used });
    let stranger = client.post("/api/auth/login", body).await;
    assert_eq!(stranger.code(), "invalid_credentials");
    let next = login(&client, &account, Some(&app.next().await)).await;
    assert_eq!(next.status, 200, "{next:?}");
    for code in ["", "used"] {
        let answer = login(&client, &account, Some(&codes[0])).await;
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains(code), "{answer:?}");
    }
}

/// security L10.
#[tokio::test]
async fn the_first_lock_of_a_second_factor_tells_its_owner() {
    let Some(world) = World::inside() else { return };
    let (client, account, app, _) = enrolled(&world).await;
    for number in 0..9 {
        login(&client, &account, Some(&app.code(step() + 7 + number))).await;
    }
    assert_eq!(world.mails("two_factor_locked", &account.email).await, 0);

    login(&client, &account, Some(&app.code(step() + 17))).await;
    login(&client, &account, Some(&app.code(step() + 18))).await;

    assert_eq!(world.mails("two_factor_locked", &account.email).await, 1);
}

/// security.md 29.
#[tokio::test]
async fn a_password_reset_neither_skips_it_nor_switches_it_off() {
    let Some(world) = World::inside() else { return };
    let (client, account, mut app, _) = enrolled(&world).await;
    let proof = world.mailed_token("verify_email", &account.email).await;
    client.verify_email(&account, &proof).await;
    client.request_reset(&account.email).await;
    let token = world.mailed_token("reset_password", &account.email).await;
    let new = unique_password();
    let body = json!({ "token": token, "newPassword": new });
    assert_eq!(client.post("/reset-password", body).await.status, 200);
    let account = Account {
        password: new,
        ..account
    };

    assert_eq!(
        login(&client, &account, None).await.code(),
        "two_factor_required"
    );
    let code = app.next().await;
    assert_eq!(login(&client, &account, Some(&code)).await.status, 200);
}

/// After a change of the key, the secrets under the old key can still be opened, and are sealed anew when they are
/// used.
#[tokio::test]
async fn a_secret_under_a_retired_key_is_sealed_anew_on_use() {
    let (old, new) = ("o".repeat(32), "n".repeat(32));
    let folder = tempfile::tempdir().unwrap();
    let start = |key: &str, previous: &str| {
        World::build()
            .variable("DATA_ENCRYPTION_KEY", key)
            .variable("DATA_ENCRYPTION_KEY_PREVIOUS", previous)
            .data_dir(folder.path())
            .start()
    };
    let Some(world) = start(&old, "") else { return };
    let (_, account, mut app, _) = enrolled(&world).await;
    drop(world);

    let Some(world) = start(&new, &old) else {
        return;
    };
    app.forget(&world, &account.id).await;
    let client = world.client();
    assert_eq!(
        login(&client, &account, Some(&app.next().await))
            .await
            .status,
        200
    );
    drop(world);
    let Some(world) = start(&new, "") else { return };
    app.forget(&world, &account.id).await;
    let answer = login(&world.client(), &account, Some(&app.next().await)).await;

    assert_eq!(answer.status, 200, "{answer:?}");
}

/// A secret that cannot be opened is a 500 for right and wrong codes alike. Each attempt counts, so that guessing is
/// not free.
#[tokio::test]
async fn a_tampered_secret_is_an_internal_error_and_no_oracle() {
    let Some(world) = World::inside() else { return };
    let (client, account, mut app, codes) = enrolled(&world).await;
    let dynamodb = world.dynamodb();
    let (table, key) = (dynamodb.credentials.clone(), format!("TOTP#{}", account.id));
    let sort_key = format!("DEVICE#{}", app.device);
    let stored = dynamodb.get(&table, &key, &sort_key).await;
    let sealed = stored["secret"]["S"].as_str().unwrap();
    let mut tampered = sealed.to_owned().into_bytes();
    let last = tampered.len() - 3;
    tampered[last] = if tampered[last] == b'A' { b'B' } else { b'A' };
    let tampered = json!({ "S": String::from_utf8(tampered).unwrap() });
    dynamodb
        .set(&table, &key, &sort_key, "secret", tampered)
        .await;
    let (right, wrong) = (app.next().await, app.code(step() + 9));

    for _ in 0..4 {
        for code in [&right, &wrong] {
            let answer = login(&client, &account, Some(code)).await;
            assert_eq!(answer.code(), "internal_error");
        }
    }

    let is_logged = |line: &Value| {
        line["cause"]
            .as_str()
            .is_some_and(|cause| cause.contains("cannot be opened"))
    };
    assert!(world.log().iter().any(is_logged));
    let with_paper = login(&client, &account, Some(&codes[0])).await;
    assert_eq!(with_paper.status, 200, "{with_paper:?}");
    for _ in 0..10 {
        login(&world.client(), &account, Some(&wrong)).await;
    }
    let locked = login(&world.client(), &account, Some(&wrong)).await;
    assert_eq!(locked.code(), "account_locked");
}

/// A device whose secret cannot be opened does not affect another one.
#[tokio::test]
async fn of_two_devices_one_that_cannot_be_opened_does_not_hinder_the_other() {
    let Some(world) = World::inside() else { return };
    let (client, account, mut phone, codes) = enrolled(&world).await;
    let setup = json!({ "token": codes[0], "deviceName": "Tablet" });
    let setup = client.set_up_two_factor(&account.access, setup).await;
    let mut tablet = Authenticator::scan(&setup);
    let body = json!({ "token": tablet.next().await });
    client.verify_two_factor(&account.access, body).await;
    let dynamodb = world.dynamodb();
    let (table, key) = (dynamodb.credentials.clone(), format!("TOTP#{}", account.id));
    let sort_key = format!("DEVICE#{}", phone.device);
    let unopenable = json!({ "S": "gone.AAAA" });
    dynamodb
        .set(&table, &key, &sort_key, "secret", unopenable)
        .await;

    let with_tablet = login(&client, &account, Some(&tablet.next().await)).await;
    let with_phone = login(&client, &account, Some(&phone.next().await)).await;

    assert_eq!(with_tablet.status, 200, "{with_tablet:?}");
    assert_eq!(with_phone.code(), "internal_error");
}

/// An unavailable store uses up no code and no attempt, and locks no account.
#[tokio::test]
async fn an_outage_costs_no_code_and_no_attempt() {
    let Some((world, faulty)) = World::build().behind_faulty_dynamodb().await else {
        return;
    };
    let (client, account, mut app, codes) = enrolled(&world).await;
    let (code, backup) = (app.next().await, codes[0].clone());

    for code in [&code, &backup] {
        for _ in 0..6 {
            faulty.fail(vec![Fault::throttled("TransactWriteItems"); 3]);
            let answer = login(&client, &account, Some(code)).await;
            assert_eq!(answer.code(), "service_unavailable");
        }
    }

    for code in [&code, &backup] {
        let answer = login(&client, &account, Some(code)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}
