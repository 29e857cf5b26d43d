//! `GET` and `POST /api/auth/oauth/callback`.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use futures_util::future::join_all;
use harness::World;
use harness::client::unique_email;
use harness::oauth::{self, CLIENT_SECRET, FAKE, FakeProvider, basic, verified};
use harness::peers::Fault;
use reqwest::Method;
use serde_json::{Value, json};

const PATH: &str = "/api/auth/oauth/callback/fake";

/// security.md 57: a state works once.
#[tokio::test]
async fn a_state_works_once_also_at_the_same_moment() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let begun = oauth::start(&client, FAKE).await;
    provider.expect(&begun, verified(&unique_email()));
    let callback = begun.callback("a code");

    let fragments = join_all((0..4).map(|_| oauth::come_back(&client, &callback))).await;

    let granted = fragments
        .iter()
        .filter(|fragment| fragment.starts_with("grant="));
    assert_eq!(granted.count(), 1, "{fragments:?}");
    assert_eq!(
        provider.script().asked.len(),
        1,
        "the provider is asked once"
    );
    let again = oauth::come_back(&client, &callback).await;
    assert_eq!(again, "error=invalid_state");
}

#[tokio::test]
async fn a_state_that_is_unknown_missing_or_doubled_leads_nowhere() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let begun = oauth::start(&client, FAKE).await;
    let state = begun.parameter("state").unwrap();
    let unknown = "0".repeat(64);
    for query in [
        String::new(),
        "?code=a".to_owned(),
        format!("?code=a&state={unknown}"),
        format!("?code=a&state={state}&state={state}"),
        "?code=a&state=short".to_owned(),
        format!("?code=a&state={}", state.to_uppercase().replace('A', "%00")),
    ] {
        let answer = client
            .send(client.request(Method::GET, &format!("{PATH}{query}")))
            .await;
        assert_eq!(oauth::fragment(&answer), "error=invalid_state", "{query}");
    }
    assert!(provider.script().asked.is_empty());
}

#[tokio::test]
async fn a_state_expires() {
    let provider = FakeProvider::start().await;
    let world = provider.configure(World::build());
    let Some(world) = world.clock("oauth-callback", "+601s") else {
        return;
    };
    let Some(world) = world.start() else { return };
    let client = world.client();
    let begun = oauth::start(&client, FAKE).await;
    provider.expect(&begun, verified(&unique_email()));

    let late = oauth::come_back(&client, &begun.callback("a code")).await;

    assert_eq!(late, "error=invalid_state");
}

#[tokio::test]
async fn a_refusal_of_the_user_and_an_error_of_the_provider_are_told_apart() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    for (error, code) in [
        ("access_denied", "access_denied"),
        ("user_cancelled_authorize", "access_denied"),
        ("temporarily_unavailable", "provider_unavailable"),
        ("invalid_scope", "provider_failed"),
    ] {
        let begun = oauth::start(&client, FAKE).await;
        let state = begun.parameter("state").unwrap();
        let path = format!("{PATH}?error={error}&error_description=no&state={state}");

        let answer = client.send(client.request(Method::GET, &path)).await;

        assert_eq!(oauth::fragment(&answer), format!("error={code}"));
    }
    assert!(provider.script().asked.is_empty());
}

/// security.md 58: nothing but a valid ID token for this sign-in is an identity.
#[tokio::test]
async fn an_id_token_that_is_not_for_this_sign_in_is_refused() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let earlier = oauth::start(&client, FAKE).await.parameter("nonce");
    for (what, claims) in [
        ("another nonce", json!({ "nonce": "another" })),
        ("the nonce of another sign-in", json!({ "nonce": earlier })),
        ("no nonce", json!({ "nonce": null })),
        (
            "another issuer",
            json!({ "iss": "https://accounts.google.com" }),
        ),
        ("another audience", json!({ "aud": "another-client" })),
        (
            "more audiences",
            json!({ "aud": ["gatehouse", "another-client"] }),
        ),
        ("expired", json!({ "exp": 1_700_000_000 })),
        ("without an expiry", json!({ "exp": null })),
        ("no subject", json!({ "sub": null })),
        ("an empty subject", json!({ "sub": "" })),
        ("an endless subject", json!({ "sub": "x".repeat(256) })),
    ] {
        let (_, fragment) = provider.answer(&client, claims).await;
        assert_eq!(fragment, "error=provider_failed", "{what}");
    }
    let good = provider.answer(&client, verified(&unique_email())).await.1;
    assert!(good.starts_with("grant="), "{good}");

    provider.script().is_signed_by_another = true;
    let forged = provider.answer(&client, verified(&unique_email())).await.1;
    assert_eq!(forged, "error=provider_failed", "another key");
    provider.script().is_signed_by_another = false;
    for alg in ["none", "HS256", "RS512"] {
        provider.script().header = json!({ "alg": alg });
        let fragment = provider.answer(&client, verified(&unique_email())).await.1;
        assert_eq!(fragment, "error=provider_failed", "{alg}");
    }
}

#[tokio::test]
async fn a_code_that_the_provider_refuses_is_told_and_answers_of_another_kind_are_errors() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    for (status, code) in [
        (StatusCode::BAD_REQUEST, "provider_failed"),
        (StatusCode::FOUND, "provider_failed"),
        (StatusCode::INTERNAL_SERVER_ERROR, "provider_unavailable"),
    ] {
        provider.script().status = status;
        let (_, fragment) = provider.answer(&client, json!({})).await;
        assert_eq!(fragment, format!("error={code}"), "{status}");
    }
    provider.script().status = StatusCode::OK;
    provider.script().padding = 300 * 1024;
    let (_, endless) = provider.answer(&client, json!({})).await;
    assert_eq!(endless, "error=provider_failed");
}

#[tokio::test]
async fn a_provider_that_is_late_costs_seconds_and_nothing_else() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    provider.script().delay = Duration::from_secs(60);
    let started = Instant::now();

    let (_, fragment) = provider.answer(&client, json!({})).await;

    assert_eq!(fragment, "error=provider_unavailable");
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    provider.script().delay = Duration::ZERO;
    let (_, fragment) = provider.answer(&client, verified(&unique_email())).await;
    assert!(fragment.starts_with("grant="), "{fragment}");
}

#[tokio::test]
async fn the_code_is_exchanged_with_the_verifier_and_the_clients_secret() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();

    provider.answer(&client, verified(&unique_email())).await;

    let asked = provider.script().asked.remove(0);
    assert_eq!(asked["grant_type"], "authorization_code");
    assert_eq!(asked["code"], "a code");
    assert_eq!(asked["redirect_uri"], format!("{}{PATH}", world.url()));
    assert_eq!(asked["code_verifier"].len(), 64);
    let secret = CLIENT_SECRET.replace(' ', "+");
    assert_eq!(asked["authorization"], basic(&secret));
}

#[tokio::test]
async fn a_browser_that_another_issuer_sends_is_refused() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    for (issuer, is_taken) in [
        ("https://evil.example", false),
        (provider.url.as_str(), true),
    ] {
        let begun = oauth::start(&client, FAKE).await;
        provider.expect(&begun, verified(&unique_email()));
        let mut callback = begun.callback("a code");
        callback.query_pairs_mut().append_pair("iss", issuer);
        let fragment = oauth::come_back(&client, &callback).await;
        assert_eq!(
            fragment.starts_with("grant="),
            is_taken,
            "{issuer}: {fragment}"
        );
    }
}

#[tokio::test]
async fn keys_that_the_provider_has_changed_are_fetched_again() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let (_, first) = provider.answer(&client, verified(&unique_email())).await;
    assert!(first.starts_with("grant="), "{first}");

    provider.change_key();
    let (_, fragment) = provider.answer(&client, verified(&unique_email())).await;

    assert!(fragment.starts_with("grant="), "{fragment}");
}

/// Apple's way: a form instead of a query, a signed client secret, and `"true"` for true.
#[tokio::test]
async fn apple_gets_a_signed_secret_and_sends_a_form() {
    let provider = FakeProvider::start().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let more = json!({ "kind": "apple", "teamId": "TEAM123456", "keyId": "KEY1234567" });
    let providers = json!([provider.configuration(more)]);
    let world = World::build()
        .variable("OAUTH_PROVIDERS", &providers.to_string())
        .variable(
            "OAUTH_CLIENT_SECRETS",
            &json!({ FAKE: key.serialize_pem() }).to_string(),
        );
    let Some(world) = world.start() else { return };
    let client = world.client();
    let begun = oauth::start(&client, FAKE).await;
    assert_eq!(
        begun.parameter("response_mode").as_deref(),
        Some("form_post")
    );
    let relay = format!(
        "{}@privaterelay.appleid.com",
        harness::client::unique("relay")
    );
    let mut claims = verified(&relay);
    claims["email_verified"] = json!("true");
    provider.expect(&begun, claims);

    let state = begun.parameter("state").unwrap();
    let form = [("state", state.as_str()), ("code", "a code")];
    let request = client
        .request(Method::POST, PATH)
        .header("origin", "https://appleid.apple.com");
    let answer = client.send(oauth::with_form(request, &form)).await;

    let grant = oauth::grant(&oauth::fragment(&answer));
    let signed_in = oauth::login(&client, &begun, &grant).await;
    assert_eq!(signed_in.status, 200, "{signed_in:?}");
    assert_eq!(signed_in["user"]["email"], relay);
    let asked = provider.script().asked.remove(0);
    let secret = asked.get("client_secret").cloned().unwrap_or_else(|| {
        let encoded = asked["authorization"].strip_prefix("Basic ").unwrap();
        let pair = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded);
        let pair = String::from_utf8(pair.unwrap()).unwrap();
        pair.split_once(':').unwrap().1.to_owned()
    });
    let (header, claims) = harness::token::parts(&secret);
    assert_eq!(
        (&header["alg"], &header["kid"]),
        (&json!("ES256"), &json!("KEY1234567"))
    );
    let named = ["iss", "sub", "aud"].map(|name| claims[name].clone());
    assert_eq!(
        named,
        [json!("TEAM123456"), json!("gatehouse"), json!(provider.url)]
    );
    let (message, signature) = secret.rsplit_once('.').unwrap();
    let signature =
        base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature);
    let algorithm = &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED;
    let public = aws_lc_rs::signature::UnparsedPublicKey::new(algorithm, key.public_key_raw());
    public
        .verify(message.as_bytes(), &signature.unwrap())
        .unwrap();
}

/// GitHub's way: no ID token, but an API for the user and the addresses.
#[tokio::test]
async fn github_is_asked_for_the_user_and_the_verified_address() {
    let provider = FakeProvider::start().await;
    let api = format!("{}/api/", provider.url);
    let github = provider.configuration(json!({ "kind": "github", "api": api }));
    let Some(world) = oauth::configure(World::build(), &[github]).start() else {
        return;
    };
    let client = world.client();
    let email = unique_email();
    let addresses = |is_verified: bool| {
        json!([
            { "email": unique_email(), "primary": false, "verified": true, "visibility": null },
            { "email": email, "primary": true, "verified": is_verified, "visibility": "private" },
        ])
    };
    provider.script().user = json!({ "id": 583_231, "login": "octocat", "name": "Ada L" });
    for is_verified in [false, true] {
        provider.script().addresses = addresses(is_verified);
        let answer = provider.login(&client, json!({})).await;
        match is_verified {
            false => assert_eq!(answer.code(), "oauth_email_unverified"),
            true => assert_eq!(answer["user"]["email"], email.as_str(), "{answer:?}"),
        }
    }
    let asked = provider.script().asked.remove(0);
    assert_eq!(asked["client_secret"], CLIENT_SECRET);
    assert_eq!(asked["code_verifier"].len(), 64);
    provider.script().user = Value::Null;
    let (_, fragment) = provider.answer(&client, json!({})).await;
    assert_eq!(fragment, "error=provider_failed");
}

/// security.md 59: Microsoft's tenants choose the addresses of their users.
#[tokio::test]
async fn an_address_of_microsoft_counts_only_if_the_tenant_owns_its_domain() {
    let provider = FakeProvider::start().await;
    let microsoft = provider.configuration(json!({ "kind": "microsoft" }));
    let Some(world) = oauth::configure(World::build(), &[microsoft]).start() else {
        return;
    };
    let client = world.client();
    for (claim, is_proven) in [
        (json!(null), false),
        (json!(false), false),
        (json!("1"), true),
    ] {
        let mut claims = verified(&unique_email());
        claims["xms_edov"] = claim.clone();
        claims["tid"] = json!("9188040d-6c67-4c5b-b112-36a304b66dad");
        let answer = provider.login(&client, claims).await;
        assert_eq!(answer.status == 200, is_proven, "{claim}: {answer:?}");
        if !is_proven {
            assert_eq!(answer.code(), "oauth_email_unverified");
        }
    }
    let mut claims = verified(&unique_email());
    claims["iss"] = json!("https://login.microsoftonline.com/another/v2.0");
    claims["tid"] = json!("another");
    let (_, fragment) = provider.answer(&client, claims).await;
    assert_eq!(fragment, "error=provider_failed");
}

/// security.md 57: a code of one provider is never sent to another one (RFC 9700, 4.4).
#[tokio::test]
async fn each_provider_has_a_callback_of_its_own() {
    let (one, two) = (FakeProvider::start().await, FakeProvider::start().await);
    let hostile = two.configuration(json!({ "name": "hostile" }));
    let providers = [one.configuration(json!({})), hostile];
    let Some(world) = oauth::configure(World::build(), &providers).start() else {
        return;
    };
    let client = world.client();
    let begun = oauth::start(&client, "hostile").await;
    one.expect(&begun, verified(&unique_email()));
    let mut callback = begun.callback("a code of the first provider");
    assert!(callback.path().ends_with("/hostile"), "{callback}");
    callback.set_path(PATH);

    let fragment = oauth::come_back(&client, &callback).await;

    assert_eq!(fragment, "error=provider_failed");
    assert!(one.script().asked.is_empty() && two.script().asked.is_empty());
}

/// security.md 59: Google vouches for its own addresses and for those of organisations that it manages.
#[tokio::test]
async fn an_address_of_google_counts_only_if_google_manages_it() {
    let provider = FakeProvider::start().await;
    let google = provider.configuration(json!({ "kind": "google" }));
    let Some(world) = oauth::configure(World::build(), &[google]).start() else {
        return;
    };
    let client = world.client();
    let gmail = format!("{}@GMail.com", harness::client::unique("ada"));
    for (email, hd, is_proven) in [
        (unique_email(), json!(null), false),
        (unique_email(), json!("example.com"), true),
        (gmail, json!(null), true),
    ] {
        let mut claims = verified(&email);
        claims["hd"] = hd.clone();
        let answer = provider.login(&client, claims).await;
        assert_eq!(answer.status == 200, is_proven, "{email} {hd}: {answer:?}");
    }
}

#[tokio::test]
async fn addresses_count_only_in_the_domains_that_the_configuration_names() {
    let provider = FakeProvider::start().await;
    let acme = provider.configuration(json!({ "emailDomains": ["Acme.example"] }));
    let Some(world) = oauth::configure(World::build(), &[acme]).start() else {
        return;
    };
    let client = world.client();
    for (domain, is_proven) in [
        ("acme.example", true),
        ("example.com", false),
        ("b.acme.example", false),
    ] {
        let email = format!("{}@{domain}", harness::client::unique("ada"));
        let answer = provider.login(&client, verified(&email)).await;
        assert_eq!(answer.status == 200, is_proven, "{email}: {answer:?}");
    }
}

/// Some providers tell the address only at their userinfo endpoint. It must be about the same user.
#[tokio::test]
async fn the_answer_about_the_user_is_taken_only_for_the_subject_of_the_id_token() {
    let Some((world, provider)) = FakeProvider::with_world().await else {
        return;
    };
    let client = world.client();
    let email = unique_email();
    let claims = json!({ "sub": "one" });
    provider.script().user_info = json!({ "sub": "two", "email": email, "email_verified": true });
    let (_, other) = provider.answer(&client, claims.clone()).await;
    assert_eq!(other, "error=provider_failed");
    provider.script().user_info = json!({ "sub": "one", "email": email });
    let unverified = provider.login(&client, claims.clone()).await;
    assert_eq!(unverified.code(), "oauth_email_unverified");
    provider.script().user_info = json!({ "sub": "one", "email": email, "email_verified": true });
    let signed_in = provider.signed_in(&client, claims).await;
    assert_eq!(signed_in["user"]["email"], email);
}

#[tokio::test]
async fn a_browser_that_comes_back_while_the_table_is_down_learns_it_at_the_front_end() {
    let provider = FakeProvider::start().await;
    let world = provider.configure(World::build());
    let Some((world, faulty)) = world.behind_faulty_dynamodb().await else {
        return;
    };
    let client = world.client();
    let begun = oauth::start(&client, FAKE).await;
    faulty.fail(vec![Fault::throttled("GetItem"); 20]);

    let fragment = oauth::come_back(&client, &begun.callback("a code")).await;

    assert_eq!(fragment, "error=service_unavailable");
}
