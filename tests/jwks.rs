//! `GET /.well-known/jwks.json` and `GET /.well-known/openid-configuration`, and access tokens signed with key pairs.

use harness::programs::{Answering, Folder};
use harness::token::{self, KeyPair, is_signed_by, key_set};
use harness::world::{Builder, is_inside};
use harness::{Client, World};
use reqwest::Method;
use serde_json::{Value, json};

const KEYS: &str = "/.well-known/jwks.json";
const DISCOVERY: &str = "/.well-known/openid-configuration";
const SECRET: &str = "an access token secret of 32 bytes or more";

/// Returns a public document, after checks of what makes it public.
async fn document(client: &Client, path: &str) -> Value {
    let answer = client.request(Method::GET, path).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("cache-control"), "public, max-age=300");
    assert_eq!(header("content-type"), "application/json; charset=utf-8");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("cross-origin-resource-policy"), "cross-origin");
    assert!(answer.headers().get("set-cookie").is_none());
    answer.json().await.unwrap()
}

async fn keys(client: &Client) -> Vec<Value> {
    let set = document(client, KEYS).await;
    set["keys"].as_array().unwrap().clone()
}

fn with_keys(world: Builder, signing: &KeyPair, published: &[&KeyPair]) -> Builder {
    world
        .variable("JWT_PRIVATE_KEY", &signing.private)
        .variable("JWT_PUBLIC_KEYS", &key_set(published))
}

#[tokio::test]
async fn anybody_verifies_an_access_token_with_the_published_key() {
    let world = World::start();
    let client = world.client();
    let account = client.register().await;
    let (access, refresh) = client.login(&account).await;
    let renewed = client.refresh(&refresh).await.text("accessToken");

    for access in [account.access, access, renewed] {
        let (header, _) = token::parts(&access);
        let keys = keys(&client).await;
        let mut of_token = keys.iter().filter(|key| key["kid"] == header["kid"]);
        let key = of_token.next().expect("the key of the token");
        assert!(of_token.next().is_none());
        assert_eq!(header["alg"], "RS256");
        assert_eq!(header["typ"], "at+jwt");
        assert!(is_signed_by(&access, key));
    }
}

/// security.md 42.
#[tokio::test]
async fn the_published_keys_have_no_private_member() {
    let world = World::start();

    for key in keys(&world.client()).await {
        let members: Vec<&str> = key
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(members, ["alg", "e", "kid", "kty", "n", "use"]);
        assert_eq!((&key["kty"], &key["use"]), (&json!("RSA"), &json!("sig")));
        assert_eq!(key["alg"], "RS256");
    }
}

#[tokio::test]
async fn the_keys_are_found_beneath_the_issuer() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let account = client.register().await;
    let (_, claims) = token::parts(&account.access);

    let metadata = document(&client, DISCOVERY).await;

    assert_eq!(metadata["issuer"], claims["iss"]);
    assert_eq!(metadata["issuer"], world.url());
    assert_eq!(metadata["jwks_uri"], format!("{}{KEYS}", world.url()));
    assert_eq!(
        metadata["id_token_signing_alg_values_supported"],
        json!(["RS256"])
    );
}

/// The URL of the keys has one slash, however the issuer ends.
#[tokio::test]
async fn an_issuer_may_end_with_a_slash() {
    let issuer = "https://auth.example.com/";
    let Some(world) = World::build().variable("JWT_ISSUER", issuer).start() else {
        return;
    };

    let metadata = document(&world.client(), DISCOVERY).await;

    assert_eq!(metadata["issuer"], issuer);
    let keys = "https://auth.example.com/.well-known/jwks.json";
    assert_eq!(metadata["jwks_uri"], keys);
}

#[tokio::test]
async fn with_a_secret_alone_tokens_are_signed_by_it_and_nothing_is_published() {
    let world = World::build()
        .variable("JWT_SECRET", SECRET)
        .variable("JWT_ISSUER", "gatehouse");
    let Some(world) = world.start() else { return };
    let client = world.client();
    let account = client.register().await;

    let (header, claims) = token::parts(&account.access);
    assert_eq!(header["alg"], "HS256");
    let forged = token::forge(&header, &claims, SECRET.as_bytes());
    assert_eq!(client.profile(&forged).await.status, 200);
    assert_eq!(keys(&client).await, Vec::<Value>::new());
    let request = client.request(Method::GET, DISCOVERY);
    assert_eq!(client.send(request).await.code(), "not_found");
}

/// security.md 16.
#[tokio::test]
async fn what_is_public_signs_nothing() {
    let (key, stranger) = (KeyPair::generate(), KeyPair::generate());
    let Some(world) = with_keys(World::build(), &key, &[&key]).start() else {
        return;
    };
    let client = world.client();
    let account = client.register().await;
    let (header, claims) = token::parts(&account.access);
    let with = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        header
    };
    let forged = key.forge(&header, &claims);
    assert_eq!(
        client.profile(&forged).await.status,
        200,
        "the forger works"
    );

    let symmetric = with("alg", json!("HS256"));
    let published = document(&client, KEYS).await;
    let modulus = key.public["n"].as_str().unwrap();
    for forged in [
        token::forge(&symmetric, &claims, key_set(&[&key]).as_bytes()),
        token::forge(&symmetric, &claims, published.to_string().as_bytes()),
        token::forge(&symmetric, &claims, modulus.as_bytes()),
        token::forge(&header, &claims, modulus.as_bytes()),
        stranger.forge(&header, &claims),
        stranger.forge(&with("jwk", stranger.public.clone()), &claims),
        stranger.forge(&with("jku", json!("https://evil.example/keys")), &claims),
        key.forge(&with("alg", json!("RS512")), &claims),
        key.forge(&with("alg", json!("none")), &claims),
        key.forge(&with("kid", json!("unknown")), &claims),
        key.forge(&with("kid", Value::Null), &claims),
        key.forge(&with("typ", json!("JWT")), &claims),
        key.forge(&with("crit", json!(["exp"])), &claims),
    ] {
        assert_eq!(
            client.profile(&forged).await.code(),
            "invalid_token",
            "{forged}"
        );
    }
}

/// Functions are deployed one after the other: each step's tokens are valid before and after it. A key that is retired
/// is not accepted any more.
#[tokio::test]
async fn next_current_and_previous_keys_are_accepted_and_a_retired_one_is_not() {
    let [first, second, third] = [(); 3].map(|()| KeyPair::generate());
    let folder = tempfile::tempdir().unwrap();
    let start = |signing: &KeyPair, published: &[&KeyPair]| {
        let world = World::build().data_dir(folder.path());
        let world = world.variable("JWT_ISSUER", "gatehouse");
        with_keys(world, signing, published).start()
    };
    let Some(world) = start(&first, &[&first, &second]) else {
        return;
    };
    let account = world.client().register().await;
    let (mut header, claims) = token::parts(&account.access);
    header["kid"] = keys(&world.client()).await[1]["kid"].clone();
    // A token of a function that is ahead of the others.
    let of_second = second.forge(&header, &claims);
    assert_eq!(world.client().profile(&of_second).await.status, 200);
    drop(world);

    let world = start(&second, &[&second, &third, &first]).unwrap();
    let client = world.client();
    let published = keys(&client).await;
    assert_eq!(published.len(), 3);
    assert_eq!(published[0]["kid"], header["kid"]);
    let (access, _) = client.login(&account).await;
    assert_eq!(token::parts(&access).0["kid"], header["kid"]);
    for access in [&account.access, &of_second, &access] {
        assert_eq!(client.profile(access).await.status, 200);
    }
    drop(world);

    let world = start(&third, &[&third, &second]).unwrap();
    let client = world.client();
    assert_eq!(client.profile(&access).await.status, 200);
    let retired = client.profile(&account.access).await;
    assert_eq!(retired.code(), "invalid_token");
}

#[test]
fn what_is_no_key_keeps_it_from_starting_and_is_not_shown() {
    if !is_inside() {
        return;
    }
    let key = KeyPair::generate();
    let mut private = key.public.clone();
    private["d"] = json!("AQAB");
    let private = json!({ "keys": [private] }).to_string();
    for (variable, value, problem) in [
        (
            "JWT_PRIVATE_KEY",
            "no key, but more than 32 bytes of text",
            "must be a private key",
        ),
        (
            "JWT_PRIVATE_KEY",
            &key_set(&[&key]),
            "must be a private key",
        ),
        (
            "JWT_PUBLIC_KEYS",
            "no set of keys",
            "must be a JSON Web Key Set",
        ),
        (
            "JWT_PUBLIC_KEYS",
            &key.private,
            "must be a JSON Web Key Set",
        ),
        (
            "JWT_PUBLIC_KEYS",
            r#"{"keys":[]}"#,
            "must be a JSON Web Key Set",
        ),
        ("JWT_PUBLIC_KEYS", &private, "must hold public keys alone"),
        ("JWT_SECRET", SECRET, "exclude each other"),
    ] {
        let world = with_keys(World::build(), &key, &[&key]);
        let world = world.variable(variable, value);
        let error = world.try_start().err().expect("an error at the start");
        let expected = match variable {
            "JWT_SECRET" => format!("JWT_SECRET and JWT_PUBLIC_KEYS {problem}"),
            _ => format!("{variable} {problem}"),
        };
        assert!(error.contains(&expected), "{expected}: {error}");
        assert!(!error.contains(value), "{error}");
    }
}

/// The stack's own function in `infra/data.yaml`, as Lambda runs it.
#[tokio::test]
async fn keys_that_the_stack_makes_sign_and_verify_with_each_algorithm() {
    if !is_inside() {
        return;
    }
    let Some(node) = Folder::of_node("tests/verifiers") else {
        return;
    };
    let template = harness::workspace::read("infra/data.yaml");
    let (_, code) = template.split_once("ZipFile: |\n").unwrap();
    let code = code
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("          "));
    let code: String = code.map(|line| format!("{}\n", line.trim())).collect();
    let code =
        format!("{code}exports.handler({{}}).then((key) => console.log(JSON.stringify(key)));");
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let mut maker = node.command("node");
        maker
            .args(["--input-type=commonjs", "-e", &code])
            .env("ALGORITHM", algorithm);
        let made = maker.output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        let world = World::build()
            .variable("JWT_ISSUER", "gatehouse")
            .variable("JWT_PRIVATE_KEY", made["private"].as_str().unwrap())
            .variable(
                "JWT_PUBLIC_KEYS",
                &json!({ "keys": [made["public"]] }).to_string(),
            )
            .start()
            .unwrap();
        let client = world.client();
        let account = client.register().await;

        assert_eq!(token::parts(&account.access).0["alg"], algorithm);
        assert_eq!(client.profile(&account.access).await.status, 200);
        let mut jose = node.command("node");
        jose.arg("with_jose.js")
            .env("KEYS_URL", format!("{}{KEYS}", world.url()))
            .env("KEYS_SECONDS", "60")
            .env("JWT_ISSUER", "gatehouse")
            .env("ALGORITHM", algorithm);
        assert_eq!(
            Answering::start(jose).ask(&account.access),
            "valid",
            "{algorithm}"
        );
    }
}
