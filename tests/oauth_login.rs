//! `POST /api/auth/oauth/login`.

use futures_util::future::join_all;
use harness::client::unique_email;
use harness::oauth::{self, FAKE, FakeProvider, REAL, RealProvider, verified};
use harness::peers::Fault;
use harness::token::parts;
use harness::{World, passkey};
use serde_json::json;

#[tokio::test]
async fn a_certified_provider_signs_somebody_up_and_in() {
    let Some(provider) = RealProvider::start().await else {
        return;
    };
    let Some(world) = provider.configure(World::build()).start() else {
        return;
    };
    let (client, email) = (world.client(), unique_email());

    let begun = oauth::start(&client, REAL).await;
    let grant = provider.grant(&client, &begun, &email).await;
    let first = oauth::login(&client, &begun, &grant).await;

    assert_eq!(first.status, 200, "{first:?}");
    let user = &first["user"];
    assert_eq!(
        (&user["email"], &user["emailVerified"]),
        (&json!(email), &json!(true))
    );
    assert_eq!(user["name"], "Ada L");
    let access = first.text("accessToken");
    assert_eq!(parts(&access).1["amr"], json!(["fed"]));
    let profile = client.profile(&access).await;
    let identity = &profile["identities"][0];
    assert_eq!(
        (&identity["provider"], &identity["email"]),
        (&json!(REAL), &json!(email))
    );
    assert!(identity["lastUsedAt"].is_string(), "{identity}");
    assert_eq!(profile["hasPassword"], false);
    assert_eq!(
        world.mails("identity_linked", &email).await,
        0,
        "the account is new"
    );
    assert_eq!(
        world.mails("new_device", &email).await,
        0,
        "it is the first device"
    );

    let begun = oauth::start(&client, REAL).await;
    let grant = provider.grant(&client, &begun, &email).await;
    let second = oauth::login(&client, &begun, &grant).await;
    assert_eq!(second["user"]["id"], user["id"]);
    assert_eq!(
        oauth::linked(&client, &second.text("accessToken")).await,
        [REAL]
    );

    let begun = oauth::start(&client, REAL).await;
    let grant = provider
        .grant(&client, &begun, &format!("unverified-{email}"))
        .await;
    let unverified = oauth::login(&client, &begun, &grant).await;
    assert_eq!(unverified.code(), "oauth_email_unverified");
}

/// security.md 60: a grant is worth nothing without the value that the client kept, and works once.
#[tokio::test]
async fn a_grant_works_once_and_only_in_the_browser_that_began() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let (client, thief) = (world.client(), world.client());
    let (begun, fragment) = provider.answer(&client, verified(&unique_email())).await;
    let grant = oauth::grant(&fragment);
    let own = oauth::start(&thief, FAKE).await;
    for (what, kept) in [
        ("another browser", own.request_token),
        ("no value", "0".repeat(64)),
    ] {
        let body = json!({ "grant": grant, "requestToken": kept });
        let answer = thief.post("/api/auth/oauth/login", body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (401, "oauth_grant_invalid"),
            "{what}"
        );
    }

    let answers = join_all((0..4).map(|_| oauth::login(&client, &begun, &grant))).await;

    let done = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(done, 1, "{answers:?}");
    let again = oauth::login(&client, &begun, &grant).await;
    assert_eq!(again.code(), "oauth_grant_invalid");
}

#[tokio::test]
async fn a_grant_expires() {
    let provider = FakeProvider::start().await;
    let world = provider.configure(World::build());
    let Some(world) = world.clock("oauth-login", "+601s") else {
        return;
    };
    let Some(world) = world.start() else { return };
    let answer = provider
        .login(&world.client(), verified(&unique_email()))
        .await;
    assert_eq!(answer.code(), "oauth_grant_invalid");
}

#[tokio::test]
async fn an_address_that_both_sides_have_proven_links_the_account_and_its_owner_is_told() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let account = passkey::proven(&world, &client).await;
    let claims = verified(&account.email.to_uppercase());

    let signed_in = provider.signed_in(&client, claims.clone()).await;

    assert_eq!(signed_in["user"]["id"], account.id);
    assert_eq!(oauth::linked(&client, &account.access).await, [FAKE]);
    assert_eq!(world.mails("identity_linked", &account.email).await, 1);
    client.login(&account).await; // the password still works
    // The identity counts from now on, whatever its address is.
    let mut moved = claims.clone();
    moved["email"] = json!(unique_email());
    moved["email_verified"] = json!(false);
    let later = provider.signed_in(&client, moved).await;
    assert_eq!(later["user"]["id"], account.id);
    assert_eq!(
        later["user"]["email"], account.email,
        "the account keeps its own"
    );
    // An address that the provider has given to somebody else lets nobody in.
    let other = provider.login(&client, verified(&account.email)).await;
    assert_eq!(
        (other.status.as_u16(), other.code()),
        (409, "provider_already_linked")
    );
    let audit = world.dynamodb().audit(&account.id).await;
    for event in ["oauth_link", "oauth_login"] {
        let seen = audit
            .iter()
            .any(|(name, outcome)| name == event && outcome == "success");
        assert!(seen, "{event} in {audit:?}");
    }
}

/// security.md 61: whoever registered a stranger's address has nothing once its owner comes.
#[tokio::test]
async fn a_strangers_account_with_the_address_is_emptied() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let (stranger, owner) = (world.client(), world.client());
    let account = stranger.register().await;

    let signed_in = provider.signed_in(&owner, verified(&account.email)).await;

    assert_eq!(signed_in["user"]["id"], account.id);
    assert_eq!(signed_in["user"]["username"], json!(null));
    let ended = stranger.profile(&account.access).await;
    assert_eq!(ended.code(), "token_revoked");
    let refused = stranger.try_login(&account.email, &account.password).await;
    assert_eq!(refused.code(), "invalid_credentials");
    let profile = owner.profile(&signed_in.text("accessToken")).await;
    assert_eq!(profile["hasPassword"], false);
}

#[tokio::test]
async fn an_address_that_is_not_verified_is_nobodys() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let account = passkey::proven(&world, &client).await;
    for (email, is_verified) in [
        (json!(account.email), json!(null)),
        (json!(account.email), json!(false)),
        (json!(unique_email()), json!(false)),
        (json!("no address"), json!(true)),
        (json!(null), json!(true)),
    ] {
        let mut claims = verified("ada@example.com");
        claims["email"] = email.clone();
        claims["email_verified"] = is_verified;
        let answer = provider.login(&client, claims).await;
        assert_eq!(
            answer.code(),
            "oauth_email_unverified",
            "{email}: {answer:?}"
        );
    }
    assert!(oauth::linked(&client, &account.access).await.is_empty());
}

#[tokio::test]
async fn a_provider_is_one_factor_and_a_missing_code_costs_nothing() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let account = passkey::proven(&world, &client).await;
    let (mut authenticator, _) = client.enrol(&account).await;
    let (begun, fragment) = provider.answer(&client, verified(&account.email)).await;
    let grant = oauth::grant(&fragment);
    let with_code = async |code: &str| {
        let body =
            json!({ "grant": grant, "requestToken": begun.request_token, "twoFactorToken": code });
        client.post("/api/auth/oauth/login", body).await
    };

    let without = oauth::login(&client, &begun, &grant).await;
    assert_eq!(without.code(), "two_factor_required");
    assert!(
        oauth::linked(&client, &account.access).await.is_empty(),
        "nothing is linked yet"
    );
    let wrong = with_code("000000").await;
    assert_eq!(wrong.code(), "two_factor_invalid");
    let right = with_code(&authenticator.next().await).await;

    assert_eq!(right.status, 200, "{right:?}");
    assert_eq!(
        parts(&right.text("accessToken")).1["amr"],
        json!(["fed", "otp", "mfa"])
    );
    let (begun, fragment) = provider.answer(&client, verified(&unique_email())).await;
    let other = oauth::login(&client, &begun, &oauth::grant(&fragment)).await;
    assert_eq!(other.status, 200, "another identity is another account");
}

#[tokio::test]
async fn the_state_of_the_account_counts_as_with_every_method() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    for (attribute, value, code) in [
        ("status", json!({ "S": "disabled" }), "account_disabled"),
        ("status", json!({ "S": "deleted" }), "oauth_grant_invalid"),
        (
            "password_reset_required",
            json!({ "BOOL": true }),
            "password_reset_required",
        ),
    ] {
        let account = passkey::proven(&world, &client).await;
        let claims = verified(&account.email);
        provider.signed_in(&client, claims.clone()).await;
        world
            .dynamodb()
            .set_user(&account.id, attribute, value.clone())
            .await;

        let linked = provider.login(&client, claims).await;
        assert_eq!(linked.code(), code);
        // Neither does the address let anybody in.
        let account = passkey::proven(&world, &client).await;
        world
            .dynamodb()
            .set_user(&account.id, attribute, value)
            .await;
        let by_address = provider.login(&client, verified(&account.email)).await;
        assert_eq!(by_address.code(), code);
        let record = world.dynamodb().user(&account.id).await;
        assert!(
            record["identities"].is_null(),
            "nothing is linked: {record}"
        );
    }
}

#[tokio::test]
async fn the_identity_of_a_deleted_account_expires_with_its_address() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let account = passkey::proven(&world, &client).await;
    let claims = verified(&account.email);
    provider.signed_in(&client, claims.clone()).await;

    let deleted = client
        .delete_account(&account.access, &account.password)
        .await;
    assert_eq!(deleted.status, 200, "{deleted:?}");

    let refused = provider.login(&client, claims).await;
    assert_eq!(refused.code(), "oauth_grant_invalid");
    let links = world.dynamodb().items("IDENTITY#").await;
    assert_eq!(links.len(), 1);
    assert!(links[0]["ttl"]["N"].is_string(), "{links:?}");
}

#[tokio::test]
async fn two_first_sign_ins_at_once_make_one_account() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let claims = verified(&unique_email());
    let one = provider.answer(&client, claims.clone()).await;
    let two = provider.answer(&client, claims.clone()).await;

    let both = [&one, &two].map(|(begun, fragment)| async {
        let grant = oauth::grant(fragment);
        oauth::login(&client, begun, &grant).await
    });
    let answers = join_all(both).await;

    let done: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .collect();
    assert!(!done.is_empty(), "{answers:?}");
    let later = provider.signed_in(&client, claims).await;
    assert!(
        done.iter()
            .all(|answer| answer["user"]["id"] == later["user"]["id"])
    );
}

#[tokio::test]
async fn two_tabs_that_sign_in_to_one_account_both_get_there() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let account = passkey::proven(&world, &client).await;
    let claims = verified(&account.email);
    let mut tabs = Vec::new();
    for _ in 0..3 {
        let (begun, fragment) = provider.answer(&client, claims.clone()).await;
        tabs.push((begun, oauth::grant(&fragment)));
    }

    let answers = join_all(
        tabs.iter()
            .map(|(begun, grant)| oauth::login(&client, begun, grant)),
    )
    .await;

    for ((begun, grant), answer) in tabs.iter().zip(answers) {
        if answer.status != 200 {
            // Another tab has linked the identity: the grant still works.
            assert_eq!(answer.status, 503, "{answer:?}");
            let again = oauth::login(&client, begun, grant).await;
            assert_eq!(again.status, 200, "{again:?}");
        }
    }
    assert_eq!(oauth::linked(&client, &account.access).await, [FAKE]);
}

/// A change of the account between the check and the link is never overlooked: the second factor may have been turned on.
#[tokio::test]
async fn an_account_that_changes_during_the_first_sign_in_is_checked_again() {
    let provider = FakeProvider::start().await;
    let world = provider.configure(World::build());
    let Some((world, faulty)) = world.behind_faulty_dynamodb().await else {
        return;
    };
    let client = world.client();
    let account = passkey::proven(&world, &client).await;
    let (begun, fragment) = provider.answer(&client, verified(&account.email)).await;
    let grant = oauth::grant(&fragment);
    // The store says that the record has changed since it was read.
    faulty.fail(vec![Fault::second_item_changed()]);

    let answer = oauth::login(&client, &begun, &grant).await;

    assert_eq!(
        (answer.status.as_u16(), faulty.faults_left()),
        (503, 0),
        "{answer:?}"
    );
    assert!(oauth::linked(&client, &account.access).await.is_empty());
    let again = oauth::login(&client, &begun, &grant).await;
    assert_eq!(again.status, 200, "{again:?}");
}

#[tokio::test]
async fn a_backup_code_notes_the_use_of_the_identity_as_well() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let account = passkey::proven(&world, &client).await;
    let (_, backup_codes) = client.enrol(&account).await;
    let (begun, fragment) = provider.answer(&client, verified(&account.email)).await;
    let grant = oauth::grant(&fragment);
    let body = json!({
        "grant": grant, "requestToken": begun.request_token, "twoFactorToken": backup_codes[0],
    });

    let signed_in = client.post("/api/auth/oauth/login", body).await;

    assert_eq!(signed_in.status, 200, "{signed_in:?}");
    let profile = client.profile(&signed_in.text("accessToken")).await;
    assert!(
        profile["identities"][0]["lastUsedAt"].is_string(),
        "{profile:?}"
    );
}
