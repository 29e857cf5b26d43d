//! Rate limits: how often a client, a user or a session may make requests, and what it is told about that.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::client::{unique_email, unique_password};
use harness::peers::{Mode, TcpProxy};
use harness::world::Builder;
use harness::{Answer, Client, World, token, until};
use reqwest::Method;
use serde_json::json;

const LOGIN: &str = "/api/auth/login";

/// Makes a login with an invalid body, which counts like any other.
async fn login(client: &Client) -> Answer {
    client.post(LOGIN, json!({})).await
}

fn with(limits: &[(&str, &str)]) -> Builder {
    let builder = World::build();
    limits.iter().fold(builder, |builder, (name, value)| {
        builder.variable(&format!("RATE_LIMIT_{name}"), value)
    })
}

/// security.md 15. The limits of `cargo local` by default.
#[tokio::test]
async fn the_sixth_login_within_15_minutes_from_one_address_is_refused() {
    let Some(world) = World::build().default_limits().start() else {
        return;
    };
    let (client, other) = (world.client(), world.client());
    for left in (0..5).rev() {
        let answer = login(&client).await;

        assert_eq!(answer.status, 400, "a malformed login counts as well");
        let (policy, remaining, seconds) = answer.rate_limit().unwrap();
        assert_eq!((policy.as_str(), remaining), ("login", left));
        assert!((899..=900).contains(&seconds), "{seconds}");
        let policy = answer.header("ratelimit-policy");
        assert_eq!(policy, Some("\"login\";q=5;w=900"));
    }

    let sixth = login(&client).await;

    assert_eq!(sixth.code(), "rate_limited");
    let (policy, remaining, seconds) = sixth.rate_limit().unwrap();
    assert_eq!((policy.as_str(), remaining), ("login", 0));
    assert!((895..=900).contains(&seconds), "{seconds}");
    assert_eq!(login(&other).await.status, 400, "from another address");
}

#[tokio::test]
async fn one_variable_sets_all_limits_and_that_of_one_goes_before_it() {
    for (preset, guest, user) in [
        ("strict", Some("5;w=60"), Some("15;w=60")),
        ("balanced", Some("60;w=60"), Some("120;w=60")),
        ("off", None, None),
        ("", Some("5;w=60"), Some("15;w=60")),
    ] {
        let world = World::build().variable("RATE_LIMITS", preset);
        let world = world.variable("RATE_LIMIT_LOGIN", "1/1h");
        let Some(world) = world.start() else { return };
        let account = world.client().register().await;
        let client = world.client();
        let policy = |answer: &Answer| {
            let policy = answer.header("ratelimit-policy");
            policy.map(|policy| policy.split_once(";q=").unwrap().1.to_owned())
        };

        let as_guest = client.profile("").await;
        let as_user = client.profile(&account.access).await;
        let single = login(&client).await;

        assert_eq!(policy(&as_guest).as_deref(), guest, "{preset}");
        assert_eq!(policy(&as_user).as_deref(), user, "{preset}");
        assert_eq!(policy(&single).as_deref(), Some("1;w=3600"), "{preset}");
    }
}

/// security.md 15.
#[tokio::test]
async fn after_the_time_that_is_told_a_request_passes_and_not_before() {
    let Some(world) = with(&[("LOGIN", "2/6s")]).start() else {
        return;
    };
    let client = world.client();
    let first = Instant::now();
    login(&client).await;
    login(&client).await;
    let refused = login(&client).await;
    let told = Duration::from_secs(refused["retryAfter"].as_u64().unwrap());
    let promised = Instant::now() + told;

    let passed = loop {
        // Asking meanwhile costs nothing: refused requests do not count.
        let asked = Instant::now();
        let answer = login(&client).await;
        if answer.status == 400 {
            break asked;
        }
        assert!(asked < promised, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };

    assert!(passed.duration_since(first) >= Duration::from_millis(5900));
    assert!(told <= Duration::from_secs(6));
}

/// security.md 15.
#[tokio::test]
async fn of_fifty_requests_at_once_exactly_as_many_pass_as_are_allowed() {
    let Some(world) = with(&[("LOGIN", "5/15m"), ("GLOBAL", "100/15m")]).start() else {
        return;
    };
    let client = world.client();

    let answers = join_all((0..50).map(|_| login(&client))).await;

    let passed = answers.iter().filter(|answer| answer.status == 400).count();
    assert_eq!(passed, 5);
    // The refused requests do not count: 5 of the global limit are used up, and one more now.
    let body = json!({ "email": "no address" });
    let answer = client.post("/api/auth/password-reset/request", body).await;
    let (policy, left, _) = answer.rate_limit().unwrap();
    assert_eq!((policy.as_str(), left), ("global", 94));
}

/// Every endpoint has its own policy; the routes of one policy share its counter.
#[tokio::test]
async fn each_endpoint_has_its_limit() {
    let policies = [
        "LOGIN",
        "REGISTER",
        "REFRESH",
        "PROFILE",
        "SESSIONS",
        "PASSWORD_RESET",
        "PASSWORD_RESET_CONFIRM",
        "PASSWORD_CHANGE",
        "ACCOUNT_DELETE",
        "EMAIL_VERIFICATION",
        "EMAIL_RESEND",
    ];
    let Some(world) = with(&policies.map(|name| (name, "1/15m"))).start() else {
        return;
    };
    let client = world.client();
    let account = world.client().register().await;
    let body = json!({ "refreshToken": account.refresh });
    for (policy, method, first, second) in [
        ("login", Method::POST, LOGIN, LOGIN),
        ("register", Method::POST, "/api/auth/register", "/signup"),
        (
            "refresh",
            Method::POST,
            "/api/auth/refresh",
            "/api/auth/refresh",
        ),
        ("profile", Method::GET, "/api/auth/profile", "/me"),
        (
            "sessions",
            Method::GET,
            "/api/auth/sessions",
            "/api/auth/sessions",
        ),
        (
            "password-reset",
            Method::POST,
            "/forgot-password",
            "/api/auth/password-reset/request",
        ),
        (
            "password-reset-confirm",
            Method::POST,
            "/reset-password",
            "/api/auth/password-reset/confirm",
        ),
        (
            "password-change",
            Method::POST,
            "/api/auth/change-password",
            "/api/auth/change-password",
        ),
        (
            "account-delete",
            Method::DELETE,
            "/api/auth/profile",
            "/api/auth/profile",
        ),
        (
            "email-verification",
            Method::POST,
            "/api/auth/verify-email",
            "/api/auth/verify-email",
        ),
        (
            "email-resend",
            Method::POST,
            "/api/auth/verify-email/resend",
            "/api/auth/verify-email/resend",
        ),
    ] {
        let send = async |path: &str| {
            let request = client.request(method.clone(), path).json(&body);
            client.send(request.bearer_auth(&account.access)).await
        };

        let (passes, refused) = (send(first).await, send(second).await);

        let name = Some((policy, 0));
        let told = |answer: &Answer| answer.rate_limit().map(|(name, left, _)| (name, left));
        assert_ne!(passes.status, 429, "{policy}");
        assert_eq!(refused.code(), "rate_limited", "{policy}");
        for answer in [&passes, &refused] {
            let told = told(answer);
            assert_eq!(
                told.as_ref().map(|(name, left)| (name.as_str(), *left)),
                name
            );
        }
    }
}

/// Anonymous requests are limited by their address, users and admins by their id, from any address.
#[tokio::test]
async fn anonymous_requests_users_and_admins_have_limits_of_their_own() {
    let Some(world) = with(&[("GUEST", "5/1m"), ("USER", "15/1m"), ("ADMIN", "30/1m")]).start()
    else {
        return;
    };
    let user = world.client().register().await;
    let admin = world.client().register().await;
    let role = json!({ "S": "admin" });
    world.dynamodb().set_user(&admin.id, "role", role).await;
    let (admin_token, _) = world.client().login(&admin).await;

    for (token, policy, most) in [
        (None, "guest", 5),
        (Some(user.access.as_str()), "user", 15),
        (Some(admin_token.as_str()), "admin", 30),
    ] {
        let one_address = world.client();
        for asked in 0..=most {
            // Anonymous requests count by address; a user's do not.
            let client = match token {
                None => one_address.clone(),
                Some(_) => world.client(),
            };
            let request = client.request(Method::GET, "/api/auth/profile");
            let request = match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            };

            let answer = client.send(request).await;

            let (name, left, _) = answer.rate_limit().unwrap();
            let passes = asked < most;
            assert_eq!(name, policy);
            assert_eq!(left, if passes { most - asked - 1 } else { 0 });
            assert_eq!(answer.code() == "rate_limited", !passes, "{policy} {asked}");
        }
    }
}

#[tokio::test]
async fn the_global_limit_is_for_all_endpoints_together() {
    let Some(world) = with(&[("GLOBAL", "4/15m")]).start() else {
        return;
    };
    let client = world.client();
    let account = world.client().register().await;
    let of_the_user = async || world.client().profile(&account.access).await;

    login(&client).await;
    client.profile("").await;
    client.post("/signup", json!({})).await;
    client.refresh("none").await;
    for path in ["/me", "/api/auth/profile", "/api/auth/sessions"] {
        client.get_as(&account.access, path).await;
    }
    of_the_user().await;

    assert_eq!(login(&client).await.rate_limit().unwrap().0, "global");
    let (refused, elsewhere) = (client.profile(&account.access).await, of_the_user().await);
    assert_eq!(refused.code(), "rate_limited");
    assert_eq!(
        elsewhere.code(),
        "rate_limited",
        "a user's limit holds for every address"
    );
    assert_eq!(elsewhere.rate_limit().unwrap().0, "global");
}

/// bugs.md 7: fifteen minutes of an office, all at once. Each person stays within a user's limit for one minute.
#[tokio::test]
async fn eight_people_behind_one_address_are_never_refused_for_each_other() {
    let Some(world) = World::build().default_limits().start() else {
        return;
    };
    let office = world.client();
    let mut people = Vec::new();
    for _ in 0..8 {
        people.push(world.client().register().await);
    }
    let mut asked = 0;
    for round in 0..14 {
        for person in &mut people {
            let answer = match round {
                4 | 9 => office.refresh(&person.refresh).await,
                7 => office.sessions(&person.access).await,
                13 => office.set_up_two_factor(&person.access, json!({})).await,
                _ => office.profile(&person.access).await,
            };

            assert_eq!(answer.status, 200, "request {asked}: {answer:?}");
            if matches!(round, 4 | 9) {
                person.access = answer.text("accessToken");
                person.refresh = answer.text("refreshToken");
            }
            asked += 1;
        }
    }

    assert!(asked > 100);
    // An anonymous request from there still has its whole limit.
    let (policy, left, _) = login(&office).await.rate_limit().unwrap();
    assert_eq!((policy.as_str(), left), ("login", 4));
}

/// A client with an expired token is told to refresh, and not that others have made requests as well.
#[tokio::test]
async fn expired_tokens_at_one_address_are_told_so_however_many_there_are() {
    let limits = [("GUEST", "5/1m"), ("GLOBAL", "5/15m"), ("USER", "2/15m")];
    let world = with(&limits).variable("JWT_EXPIRY", "1s");
    let Some(world) = world.start() else { return };
    let office = world.client();
    let mut people = Vec::new();
    for _ in 0..8 {
        people.push(world.client().register().await);
    }
    for person in &people {
        token::wait_until_expired(&person.access).await;
    }

    for person in &people {
        for expected in ["token_expired", "token_expired", "rate_limited"] {
            let answer = office.profile(&person.access).await;
            assert_eq!(answer.code(), expected, "{answer:?}");
        }
        // The refresh is limited by session: the owner has lost nothing.
        assert_eq!(office.refresh(&person.refresh).await.status, 200);
        let (fresh, _) = world.client().login(person).await;
        let answer = office.profile(&fresh).await;
        assert_eq!(answer.rate_limit().unwrap().1, 1, "{answer:?}");
    }
}

#[tokio::test]
async fn the_token_of_a_session_that_is_over_does_not_ask_without_end() {
    let Some(world) = with(&[("USER", "4/15m")]).start() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let (other, _) = world.client().login(&account).await;
    client.logout(&account.access).await;

    for expected in [
        "token_revoked",
        "token_revoked",
        "token_revoked",
        "rate_limited",
    ] {
        let answer = world.client().profile(&account.access).await;
        assert_eq!(answer.code(), expected, "{answer:?}");
    }
    // None of this counts against the address.
    assert_eq!(login(&client).await.status, 400);
    assert_eq!(client.profile(&other).await.code(), "rate_limited");
}

#[tokio::test]
async fn requests_about_the_second_factor_are_limited_by_user() {
    let limits = [("TWO_FACTOR", "2/15m"), ("GUEST", "3/15m")];
    let Some(world) = with(&limits).start() else {
        return;
    };
    let (office, path) = (world.client(), "/api/auth/2fa/setup");
    for _ in 0..3 {
        let account = world.client().register().await;
        for (left, expected) in [(1, 200), (0, 200), (0, 429)] {
            let answer = office.post_as(&account.access, path, json!({})).await;

            assert_eq!(answer.status, expected, "{answer:?}");
            let told = answer.rate_limit().unwrap();
            assert_eq!((told.0.as_str(), told.1), ("two-factor", left));
        }
    }
    // Anonymous requests are limited by address.
    for expected in [401, 401, 429] {
        assert_eq!(office.post(path, json!({})).await.status, expected);
    }
}

/// Neither a user's requests nor the refused ones among them count against the address.
#[tokio::test]
async fn the_requests_of_a_user_do_not_count_against_the_address() {
    let Some(world) = with(&[("GLOBAL", "9/15m"), ("USER", "1/15m")]).start() else {
        return;
    };
    let client = world.client();
    let account = world.client().register().await;
    client.profile(&account.access).await;
    for _ in 0..20 {
        let refused = client.profile(&account.access).await;
        assert_eq!(refused.rate_limit().unwrap().0, "user");
    }

    let (policy, left, _) = login(&client).await.rate_limit().unwrap();
    assert_eq!((policy.as_str(), left), ("global", 8));
}

/// security.md 9: one address against many accounts.
#[tokio::test]
async fn one_address_cannot_try_many_accounts() {
    let Some(world) = with(&[("LOGIN", "5/15m")]).start() else {
        return;
    };
    let client = world.client();
    let mut passed = 0;
    for _ in 0..200 {
        let answer = client.try_login(&unique_email(), "Wrong-7-horse").await;
        passed += usize::from(answer.code() == "invalid_credentials");
    }

    assert_eq!(passed, 5);
}

async fn sign_in(client: &Client, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    client.post(LOGIN, body).await
}

/// bugs.md 7. The limit of anonymous requests is off here, because it counts every request without a token, per minute.
#[tokio::test]
async fn a_right_password_gives_its_attempt_back() {
    for (preset, most) in [("strict", 5), ("balanced", 10)] {
        let world = with(&[("GUEST", "off")]).variable("RATE_LIMITS", preset);
        let Some(world) = world.start() else { return };
        let client = world.client();
        let account = world.client().register().await;
        let right = async || sign_in(&client, &account.email, &account.password).await;
        let wrong = async || sign_in(&client, &unique_email(), "Wrong-7-horse").await;

        for _ in 0..=most {
            assert_eq!(right().await.status, 200);
        }
        for left in (0..most).rev() {
            let answer = wrong().await;
            assert_eq!(answer.code(), "invalid_credentials");
            let told = answer.rate_limit().unwrap();
            assert_eq!((told.0.as_str(), told.1), ("login", left));
            if left > 0 {
                let answer = right().await;
                assert_eq!(answer.status, 200, "after others' failures");
                assert_eq!(
                    answer.rate_limit().unwrap().1,
                    left,
                    "it takes back no failure"
                );
            }
        }
        assert_eq!(wrong().await["limit"], "login");
        assert_eq!(
            right().await["limit"],
            "login",
            "no password is compared any more"
        );
    }
}

/// bugs.md 7: a Monday morning, with all limits of production.
#[tokio::test]
async fn eight_people_who_sign_in_at_one_address_within_a_minute_are_not_refused() {
    let world = World::build().default_limits();
    let Some(world) = world.start() else { return };
    let mut people = Vec::new();
    for _ in 0..8 {
        people.push(world.client().register().await);
    }
    let office = world.client();

    for person in &people {
        let answer = sign_in(&office, &person.email, &person.password).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    for _ in 0..5 {
        let answer = sign_in(&office, &unique_email(), "Wrong-7-horse").await;
        assert_eq!(answer.code(), "invalid_credentials");
    }
    let answer = sign_in(&office, &people[0].email, &people[0].password).await;
    assert_eq!(answer.code(), "rate_limited", "failures count: {answer:?}");
}

#[tokio::test]
async fn a_right_password_that_lacks_something_else_gives_its_attempt_back() {
    let Some(world) = with(&[("LOGIN", "2/15m")]).start() else {
        return;
    };
    let (client, user) = (world.client(), world.client());
    let disabled = user.register().await;
    let status = json!({ "S": "disabled" });
    world
        .dynamodb()
        .set_user(&disabled.id, "status", status)
        .await;
    let enrolled = user.register().await;
    user.enrol(&enrolled).await;
    for (account, code) in [
        (&disabled, "account_disabled"),
        (&enrolled, "two_factor_required"),
    ] {
        for _ in 0..4 {
            let answer = sign_in(&client, &account.email, &account.password).await;
            assert_eq!(answer.code(), code, "{answer:?}");
        }
    }

    // A wrong code is a failure.
    for expected in ["two_factor_invalid", "two_factor_invalid", "rate_limited"] {
        let body = json!({
            "email": enrolled.email, "password": enrolled.password, "twoFactorToken": "000000",
        });
        assert_eq!(client.post(LOGIN, body).await.code(), expected);
    }
}

#[tokio::test]
async fn a_right_password_without_a_proven_address_gives_its_attempt_back() {
    let world = with(&[("LOGIN", "2/15m")]).variable("REQUIRE_VERIFIED_EMAIL", "true");
    let Some(world) = world.start() else { return };
    let client = world.client();
    let (email, password) = (unique_email(), unique_password());
    let body = json!({ "email": email, "password": password });
    client.post("/api/auth/register", body).await;

    for _ in 0..4 {
        let answer = sign_in(&client, &email, &password).await;
        assert_eq!(answer.code(), "email_not_verified");
    }
}

/// An attempt is charged first and taken back later, so fifty at once get no more tries than fifty in a row.
#[tokio::test]
async fn of_fifty_wrong_passwords_at_once_five_are_compared() {
    let Some(world) = with(&[("LOGIN", "5/15m")]).start() else {
        return;
    };
    let client = world.client();
    let account = world.client().register().await;
    for _ in 0..7 {
        let answer = sign_in(&client, &account.email, &account.password).await;
        assert_eq!(answer.status, 200);
    }

    let client = client.patient();
    let answers = join_all((0..50).map(async |_| {
        let answer = sign_in(&client, &unique_email(), "Wrong-7-horse").await;
        (answer.code().to_owned(), answer.was_repeated)
    }))
    .await;

    let count = |code: &str| answers.iter().filter(|(known, _)| known == code).count();
    let compared = count("invalid_credentials");
    assert_eq!(compared + count("rate_limited"), 50);
    let unknown = answers.iter().filter(|(_, repeated)| *repeated).count();
    assert!(compared <= 5 && compared + unknown >= 5, "{compared}");
}

/// An account costs something, and causes mail to somebody. Where strangers may register, each registration counts.
#[tokio::test]
async fn registrations_count_and_among_people_who_know_each_other_only_those_that_fail() {
    for (preset, accounts, failures) in [("strict", 5, 0), ("balanced", 11, 10)] {
        let world = with(&[("GUEST", "off")]).variable("RATE_LIMITS", preset);
        let Some(world) = world.start() else { return };
        let client = world.client();
        for _ in 0..accounts {
            client.register().await;
        }
        for _ in 0..failures {
            assert_eq!(client.post("/signup", json!({})).await.status, 400);
        }

        let refused = client.post("/signup", json!({})).await;

        assert_eq!(refused["limit"], "register", "{refused:?}");
    }
}

/// newcomer.md: five 429s, and none of them named the limit.
#[tokio::test]
async fn a_refusal_says_which_limit_it_was_and_the_log_says_how_it_is_set() {
    let Some(world) = World::build().default_limits().start() else {
        return;
    };
    let client = world.client();
    for _ in 0..5 {
        client.profile("").await;
    }

    let refused = client.profile("").await;

    assert_eq!(refused["limit"], "guest");
    assert_eq!(
        refused.text("message"),
        "Too many requests: the limit \"guest\" allows 5 in 1 minute."
    );
    let log = world.log();
    let lines = log.iter().filter(|line| line["outcome"] == "rate_limited");
    let named: Vec<_> = lines.map(|line| line["limit"].as_str()).collect();
    assert_eq!(named, [Some("RATE_LIMIT_GUEST")]);
    let mut others = log.iter().filter(|line| line["outcome"] == "missing_token");
    assert!(others.all(|line| line.get("limit").is_none()));
}

/// security.md I2.
#[tokio::test]
async fn nobody_is_told_how_often_others_have_asked_about_an_address() {
    let limits = [("PASSWORD_RESET", "3/1h"), ("EMAIL_RESEND", "3/1h")];
    let Some(world) = with(&limits).start() else {
        return;
    };
    let email = world.client().register().await.email;
    for path in ["/forgot-password", "/api/auth/verify-email/resend"] {
        let body = json!({ "email": email });
        for _ in 0..3 {
            let answer = world.client().post(path, body.clone()).await;

            assert_eq!(answer.status, 200);
            assert_eq!(answer.rate_limit().unwrap().1, 2, "{answer:?}");
        }
        let refused = world.client().post(path, body.clone()).await;
        assert_eq!(refused.code(), "rate_limited");
    }
}

/// Mail to one address can be requested only so often, by however many clients. Nobody learns whether it has an
/// account.
#[tokio::test]
async fn mail_to_one_address_is_limited_for_all_clients_together() {
    let limits = [("PASSWORD_RESET", "3/1h"), ("EMAIL_RESEND", "3/1h")];
    let Some(world) = with(&limits).start() else {
        return;
    };
    let account = world.client().register().await;
    for path in ["/forgot-password", "/api/auth/verify-email/resend"] {
        for email in [account.email.clone(), unique_email()] {
            for spelling in [&email, &email.to_uppercase(), &format!(" {email}")] {
                let answer = world
                    .client()
                    .post(path, json!({ "email": spelling }))
                    .await;
                assert_eq!(answer.status, 200);
            }
            let fourth = world.client();

            let refused = fourth.post(path, json!({ "email": email })).await;

            assert_eq!(refused.code(), "rate_limited", "{path}");
            // The refused request does not count against its client either.
            let other = json!({ "email": unique_email() });
            let answer = fourth.post(path, other).await;
            assert_eq!(answer.rate_limit().unwrap().1, 2, "{answer:?}");
        }
    }
}

/// security.md 12.
#[tokio::test]
async fn no_header_makes_a_client_another_one() {
    let Some(world) = with(&[("LOGIN", "3/15m")]).start() else {
        return;
    };
    let client = world.client();
    for (name, value) in [
        ("x-forwarded-for", "198.51.100.1"),
        ("forwarded", "for=198.51.100.2"),
        ("x-real-ip", "198.51.100.3"),
        ("cloudfront-viewer-address", "198.51.100.4:1"),
        ("true-client-ip", "198.51.100.5"),
    ] {
        let request = client.request(Method::POST, LOGIN).json(&json!({}));
        client.send(request.header(name, value)).await;
    }

    assert_eq!(login(&client).await.code(), "rate_limited");
}

/// Behind CloudFront, its header names the client, and nobody can bypass it.
#[tokio::test]
async fn behind_cloudfront_its_word_for_the_client_counts() {
    let secret = "an origin verify secret of 32 bytes or more";
    let world = with(&[("LOGIN", "1/15m")]).variable("ORIGIN_VERIFY_SECRET", secret);
    let Some(world) = world.start() else { return };
    let client = world.client();
    let send = async |secret: Option<&str>, viewer: &str| {
        let mut request = client.request(Method::POST, LOGIN).json(&json!({}));
        if let Some(secret) = secret {
            request = request.header("x-origin-verify", secret);
        }
        let request = request.header("cloudfront-viewer-address", viewer);
        client.send(request).await
    };

    for wrong in [
        None,
        Some(""),
        Some("an origin verify secret of 32 bytes or morf"),
    ] {
        assert_eq!(send(wrong, "198.51.100.1:1").await.code(), "forbidden");
    }
    for viewer in [
        "198.51.100.1:1",
        "2001:db8:0:1::1:443",
        "2001:db8:0:2::1:443",
    ] {
        assert_eq!(send(Some(secret), viewer).await.status, 400, "{viewer}");
    }
    for same in [
        "198.51.100.1:2",
        "2001:db8:0:1:ffff::2:443",
        "::ffff:198.51.100.1:3",
    ] {
        assert_eq!(
            send(Some(secret), same).await.code(),
            "rate_limited",
            "{same}"
        );
    }
}

/// During a rotation of CloudFront's secret, some edge locations send the new one and some the old one.
#[tokio::test]
async fn behind_cloudfront_two_secrets_are_taken_while_one_replaces_the_other() {
    let (secret, other) = (
        "an origin verify secret of 32 bytes or more",
        "another origin verify secret, as long as that",
    );
    let world = with(&[]).variable("ORIGIN_VERIFY_SECRET", secret);
    let world = world.variable("ORIGIN_VERIFY_SECRET_PREVIOUS", other);
    let Some(world) = world.start() else { return };
    let client = world.client();
    for (given, status) in [(secret, 400), (other, 400), ("none", 403), ("", 403)] {
        let request = client.request(Method::POST, LOGIN).json(&json!({}));
        let answer = client.send(request.header("x-origin-verify", given)).await;
        assert_eq!(answer.status, status, "{given:?}");
    }
}

/// A server that renders pages makes requests for many people from one address.
#[tokio::test]
async fn a_server_with_the_secret_says_who_its_client_is_and_nobody_else_does() {
    let (secret, next) = (
        "a trusted proxy secret of 32 bytes or more",
        "the next trusted proxy secret: as long as it",
    );
    let given = format!("{secret}, {next}");
    let world = with(&[("LOGIN", "1/15m")]).variable("TRUSTED_PROXY_SECRET", &given);
    let Some(world) = world.start() else { return };
    let server = world.client();
    let send = async |secret: Option<&str>, address: Option<&str>| {
        let mut request = server.request(Method::POST, LOGIN).json(&json!({}));
        for (name, value) in [
            ("x-gatehouse-proxy-secret", secret),
            ("x-gatehouse-client-ip", address),
        ] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        server.send(request).await
    };

    for (secret, address) in [
        (secret, "198.51.100.1"),
        (next, "198.51.100.2"),
        (secret, "2001:db8:0:1::1"),
        (next, "2001:db8:0:2::1"),
    ] {
        let (first, same) = (
            send(Some(secret), Some(address)).await,
            send(Some(secret), Some(address)).await,
        );
        assert_eq!(first.code(), "validation_failed", "{address}");
        assert_eq!(same.code(), "rate_limited", "{address}");
    }
    // An invalid address is the server's mistake and therefore an error; the request counts against nobody.
    for address in [
        "",
        "198.51.100.3:443",
        "unknown",
        "198.51.100.3, 10.0.0.1",
        "[::1]",
    ] {
        let answer = send(Some(secret), Some(address)).await;
        assert!(answer.names(&["X-Gatehouse-Client-IP"]), "{answer:?}");
        assert_eq!(answer.rate_limit(), None);
    }
    // The server's own requests, and all requests without the secret, count against the sender.
    assert_eq!(send(Some(secret), None).await.code(), "validation_failed");
    for wrong in [
        None,
        Some(""),
        Some("none"),
        Some(given.as_str()),
        Some("a trusted proxy secret of 32 bytes or morf"),
    ] {
        for address in ["198.51.100.9", "unknown"] {
            let answer = send(wrong, Some(address)).await;
            assert_eq!(answer.code(), "rate_limited", "{wrong:?}");
        }
    }
    let without = world.client();
    let request = without.request(Method::POST, LOGIN).json(&json!({}));
    let request = request.header("x-gatehouse-client-ip", "198.51.100.1");
    assert_eq!(without.send(request).await.status, 400);
}

/// The session records the visitor's address. Without a configured secret, the proxy's headers are ignored.
#[tokio::test]
async fn a_trusted_servers_client_address_is_recorded_also_behind_cloudfront() {
    let (secret, origin) = (
        "a trusted proxy secret of 32 bytes or more",
        "an origin verify secret of 32 bytes or more",
    );
    for (given, recorded) in [(secret, "203.0.113.9"), ("", "198.51.100.7")] {
        let world = World::build().variable("TRUSTED_PROXY_SECRET", given);
        let world = world.variable("ORIGIN_VERIFY_SECRET", origin);
        let Some(world) = world.start() else { return };
        let client = world.client();
        let body = json!({ "email": unique_email(), "password": unique_password() });
        let request = client
            .request(Method::POST, "/api/auth/register")
            .json(&body);
        let request = request
            .header("x-gatehouse-proxy-secret", secret)
            .header("x-gatehouse-client-ip", "203.0.113.9");
        let past = request.try_clone().unwrap();
        assert_eq!(client.send(past).await.code(), "forbidden");
        let request = request
            .header("x-origin-verify", origin)
            .header("cloudfront-viewer-address", "198.51.100.7:46532");

        let answer = client.send(request).await;

        assert_eq!(answer.status, 201, "{answer:?}");
        let sessions: Vec<_> = world.sessions().into_values().collect();
        assert_eq!(sessions[0]["ip"], recorded, "{sessions:?}");
    }
}

/// security.md 14.
#[tokio::test]
async fn without_the_limiter_nobody_passes() {
    let proxy = TcpProxy::start("127.0.0.1:9").await;
    let redis = World::inside();
    let Some(other) = redis else { return };
    proxy.set_upstream(
        other
            .local()
            .info()
            .redis_url
            .trim_start_matches("redis://"),
    );
    let url = format!("redis://{}", proxy.address);
    let world = World::build().default_limits().variable("REDIS_URL", &url);
    let Some(world) = world.start() else { return };
    let account = world.client().register().await;

    proxy.set(Mode::Gone);

    for (method, path) in [
        (Method::POST, LOGIN),
        (Method::POST, "/api/auth/register"),
        (Method::POST, "/api/auth/refresh"),
        (Method::POST, "/api/auth/logout"),
        (Method::GET, "/api/auth/profile"),
        (Method::GET, "/api/auth/sessions"),
        (Method::DELETE, "/api/auth/profile"),
        (Method::POST, "/api/auth/change-password"),
        (Method::POST, "/api/auth/password-reset/request"),
        (Method::POST, "/api/auth/password-reset/confirm"),
        (Method::POST, "/api/auth/verify-email"),
        (Method::POST, "/api/auth/verify-email/resend"),
    ] {
        let client = world.client();
        let body = json!({ "email": unique_email(), "password": unique_password() });
        let request = client.request(method, path).json(&body);
        let answer = client.send(request.bearer_auth(&account.access)).await;

        assert_eq!(answer.code(), "service_unavailable", "{path}");
    }
}

/// Counters are only in Redis, follow its clock, and expire with their window.
#[tokio::test]
async fn counters_expire_with_their_window() {
    let Some(world) = with(&[("LOGIN", "5/1h")]).start() else {
        return;
    };
    let client = world.client();
    for _ in 0..3 {
        login(&client).await;
    }

    let mut redis = world.redis();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("rate_limit:*")
        .query(&mut redis)
        .unwrap();
    assert_eq!(keys.len(), 1);
    assert!(keys[0].starts_with("rate_limit:login:{127.0."), "{keys:?}");
    let life: i64 = redis::cmd("TTL").arg(&keys[0]).query(&mut redis).unwrap();
    assert!((3590..=3600).contains(&life), "{life}");
    let count: usize = redis::cmd("ZCARD").arg(&keys[0]).query(&mut redis).unwrap();
    assert_eq!(count, 3);
}

/// security.md 13: a limited or locked request is answered before anything is hashed.
#[tokio::test]
async fn a_refused_request_costs_no_hash() {
    let Some(world) = with(&[("LOGIN", "7/15m")]).start() else {
        return;
    };
    let client = world.client();
    let body = json!({ "email": unique_email(), "password": "Wrong-7-horse" });
    let mut codes = Vec::new();
    for _ in 0..9 {
        codes.push(client.post(LOGIN, body.clone()).await.code().to_owned());
    }

    let count = |code: &str| codes.iter().filter(|known| *known == code).count();
    let hashes = world.log().into_iter();
    let hashes = hashes.filter(|line| line.get("HashTime").is_some()).count();
    assert_eq!(
        (
            count("invalid_credentials"),
            count("account_locked"),
            count("rate_limited")
        ),
        (5, 2, 2)
    );
    assert_eq!(hashes, 5);
}

/// An old token of an ended session must not use up its owner's requests.
#[tokio::test]
async fn a_dead_refresh_token_does_not_count_against_its_owner() {
    let Some(world) = with(&[("USER", "3/15m")]).start() else {
        return;
    };
    let owner = world.client();
    let account = owner.register().await;
    let (access, dead) = owner.login(&account).await;
    owner.logout(&access).await;
    for _ in 0..5 {
        world.client().refresh(&dead).await;
    }

    let (policy, left, _) = owner.profile(&account.access).await.rate_limit().unwrap();
    assert_eq!(
        (policy.as_str(), left),
        ("user", 1),
        "only the logout and the profile count"
    );
    assert_eq!(owner.refresh(&account.refresh).await.status, 200);
}

/// The clocks of two functions differ by ten seconds, more than the window. Each function sees the other's counts until
/// they expire, and accepts the other's tokens.
#[tokio::test]
async fn functions_with_different_clocks_agree() {
    let builder = with(&[("GLOBAL", "4/8s")]);
    let Some(builder) = builder.clock("login", "+5s") else {
        return;
    };
    let Some(builder) = builder.clock("profile", "-5s") else {
        return;
    };
    let Some(world) = builder.start() else { return };
    let account = world.client().register().await;
    let (access, _) = world.client().login(&account).await;
    let client = world.client();
    assert_eq!(client.profile(&access).await.status, 200);
    let first = Instant::now();
    for _ in 0..2 {
        assert_eq!(client.profile("").await.status, 401); // anonymous, so both functions count it
        assert_eq!(login(&client).await.status, 400);
    }

    let (by_login, by_profile) = (login(&client).await, client.profile("").await);

    assert_eq!(
        (by_login.code(), by_profile.code()),
        ("rate_limited", "rate_limited")
    );
    while login(&client).await.status != 400 {
        assert!(first.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(first.elapsed() >= Duration::from_millis(7900));
    // The clocks really differ: the earlier request has the later timestamp.
    let at = |function: &str| {
        let log = world.log().into_iter();
        let mut lines =
            log.filter(|line| line["message"] == "request" && line["function"] == function);
        lines.next().expect("a line")["timestamp"].to_string()
    };
    assert!(at("login") > at("profile"));
}

/// The limit is charged together with the rotation, so a rotation beyond the limit is undone.
#[tokio::test]
async fn a_refresh_that_is_refused_leaves_the_token_as_it_was() {
    let limits = with(&[("REFRESH", "2/8s")]).variable("REFRESH_GRACE", "0s");
    let Some(world) = limits.start() else { return };
    let client = world.client();
    let account = client.register().await;
    let first = client.refresh(&account.refresh).await;
    let second = client.refresh(&first.text("refreshToken")).await;
    let token = second.text("refreshToken");

    let refused = client.refresh(&token).await;
    let again = client.refresh(&token).await;

    assert_eq!(refused.code(), "rate_limited");
    assert_eq!(again.code(), "rate_limited");
    let promised = Instant::now() + Duration::from_secs(again["retryAfter"].as_u64().unwrap());
    until("the limit lets a refresh pass", async || {
        let asked = Instant::now();
        let answer = client.refresh(&token).await;
        let is_limited = answer.code() == "rate_limited" && asked < promised;
        assert!(answer.status == 200 || is_limited, "{answer:?}");
        answer.status == 200
    })
    .await;
}

/// The reuse of a stolen token ends the session and is recorded, even beyond the limit.
#[tokio::test]
async fn reuse_beyond_the_limit_is_still_recorded() {
    let limits = with(&[("REFRESH", "1/15m")]).variable("REFRESH_GRACE", "0s");
    let Some(world) = limits.start() else { return };
    let client = world.client();
    let account = client.register().await;
    assert_eq!(client.refresh(&account.refresh).await.status, 200);
    token::wait_for_next_millisecond(); // the grace of 0 s is over

    let reused = client.refresh(&account.refresh).await;

    assert_eq!(reused.code(), "rate_limited");
    let entries = world.dynamodb().audit(&account.id).await;
    let reuse = ("refresh_token_reuse".to_owned(), "failure".to_owned());
    assert!(entries.contains(&reuse), "{entries:?}");
    let profile = client.profile(&account.access).await;
    assert_eq!(profile.code(), "token_revoked");
}

/// Requests that are refused before any store is asked count as well, and are limited in the end.
#[tokio::test]
async fn requests_that_are_wrong_in_themselves_count_where_tokens_are_taken() {
    let Some(world) = with(&[("GUEST", "2/15m"), ("USER", "2/15m")]).start() else {
        return;
    };
    let (client, caller) = (world.client(), world.client());
    let account = world.client().register().await;
    for expected in ["validation_failed", "validation_failed", "rate_limited"] {
        let answer = client.post("/api/auth/refresh", json!({})).await;
        assert_eq!(answer.code(), expected);
    }
    let body = json!({ "allDevices": "yes" });
    for expected in ["validation_failed", "validation_failed", "rate_limited"] {
        let logout = caller.post_as(&account.access, "/api/auth/logout", body.clone());
        assert_eq!(logout.await.code(), expected);
    }
}
