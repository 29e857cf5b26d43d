use aws_lc_rs::hmac;
use jsonwebtoken::{Algorithm, DecodingKey};
use secrecy::ExposeSecret;

use super::*;
use crate::domain::id::Id;
use crate::domain::session::AuthenticationMethods;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn signing(secret: &str) -> SigningConfig {
    SigningConfig {
        key: SigningKey::symmetric(&SecretString::from(secret)),
        issuer: "https://issuer.example".into(),
        audience: "audience".into(),
    }
}

fn verifying(secret: &str, previous: Option<&str>) -> VerifyingConfig {
    let secrets = std::iter::once(secret).chain(previous);
    VerifyingConfig {
        keys: secrets
            .map(|secret| VerifyingKey::symmetric(&SecretString::from(secret)))
            .collect(),
        issuer: "https://issuer.example".into(),
        audience: "audience".into(),
    }
}

/// Issuer and verifier of access tokens.
struct Access {
    issuer: AccessTokenIssuer,
    verifier: AccessTokenVerifier,
}

impl Access {
    fn issue(&self, session: &Session, now: Timestamp) -> (SecretString, Duration) {
        issue(&self.issuer, session, &CustomClaims::default(), now)
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<AccessClaims, TokenError> {
        self.verifier.verify(token, now)
    }
}

fn issue(
    issuer: &AccessTokenIssuer,
    session: &Session,
    own: &CustomClaims,
    now: Timestamp,
) -> (SecretString, Duration) {
    match issuer.issue(session, Role::User, own, now, [0; 16]) {
        (IssuedAccessToken::Signed(token), lives) => (token, lives),
        (IssuedAccessToken::Unsigned(..), _) => panic!("this process holds the key"),
    }
}

fn issuer(key: AccessKey, namespace: Namespace) -> AccessTokenIssuer {
    let names = ("https://issuer.example".to_owned(), "audience".to_owned());
    AccessTokenIssuer::new(key, names, Duration::from_secs(900), namespace)
}

fn access(secret: &str, previous: Option<&str>) -> Access {
    let key = AccessKey::Held(signing(secret).key);
    Access {
        issuer: issuer(key, Namespace::default()),
        verifier: AccessTokenVerifier::new(verifying(secret, previous)),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_milliseconds(seconds * 1000)
}

fn session() -> Session {
    let now = at(1_000_000);
    Session {
        id: Id::new(now, [1; 16]),
        user_id: Id::new(now, [2; 16]),
        counter: 3,
        rotated_at: now,
        expires_at: at(1_000_000 + 604_800),
        signed_in_at: at(999_000),
        methods: AuthenticationMethods::PASSWORD_AND_CODE,
    }
}

/// Creates a token with the given header and claims, signed with the secret as HMAC-SHA256.
fn forge(header: &impl ToString, claims: &impl ToString, secret: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(header.to_string());
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    let message = format!("{header}.{claims}");
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()));
    format!("{message}.{signature}")
}

/// Asserts that a token is valid only if every member of its header and claims is present exactly once, and both are
/// objects.
pub(in super::super) fn assert_all_is_needed(
    token: &SecretString,
    secret: &str,
    is_valid: impl Fn(&str) -> bool,
) {
    let (header, claims) = parts(token);
    let is_valid = |[header, claims]: [&str; 2]| is_valid(&forge(&header, &claims, secret));
    let (header, claims) = (header.to_string(), claims.to_string());
    assert!(is_valid([&header, &claims]), "the forger works");

    for part in [0, 1] {
        let text = [&header, &claims][part];
        let whole: Value = serde_json::from_str(text).unwrap();
        let with = |changed: &str| {
            let mut parts = [header.as_str(), &claims];
            parts[part] = changed;
            is_valid(parts)
        };
        let mut values = Vec::new();
        for (name, value) in whole.as_object().unwrap() {
            let mut without = whole.clone();
            without.as_object_mut().unwrap().remove(name);
            assert!(!with(&without.to_string()), "without {name}");
            let twice = format!("{{{}:{value},{}", json!(name), &text[1..]);
            assert!(!with(&twice), "{twice}");
            values.push((position(token, part, name), value));
        }
        values.sort_by_key(|(position, _)| *position);
        let mut values: Vec<&Value> = values.into_iter().map(|(_, value)| value).collect();
        for nulls in 0..2 {
            assert!(
                !with(&json!(values).to_string()),
                "{nulls} more: {values:?}"
            );
            values.push(&Value::Null); // optional
        }
    }
}

/// Returns the position of a name in a part of a token.
fn position(token: &SecretString, part: usize, name: &str) -> usize {
    let text = token.expose_secret().split('.').nth(part).unwrap();
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
    text.find(&format!("{}:", json!(name))).unwrap()
}

fn parts(token: &SecretString) -> (Value, Value) {
    let part = |at: usize| {
        let text = token.expose_secret().split('.').nth(at).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
    };
    (part(0), part(1))
}

#[test]
fn the_algorithm_is_named_by_a_text() {
    let access = access("current", None);
    let (header, claims) = parts(&access.issue(&session(), at(1_000_000)).0);
    let verify = |alg: Value| {
        let mut header = header.clone();
        header["alg"] = alg;
        access.verify(&forge(&header, &claims, "current"), at(1_000_000))
    };

    assert!(verify(json!("HS256")).is_ok());
    for alg in [
        json!({ "HS256": null }),
        json!(["HS256"]),
        json!("hs256"),
        json!("none"),
        json!("HS512"),
    ] {
        assert_eq!(verify(alg.clone()), Err(TokenError::Invalid), "{alg}");
    }
}

/// A slow clock would accept expired tokens.
#[test]
fn a_token_of_the_future_is_refused() {
    let access = access("current", None);
    let (token, _) = access.issue(&session(), at(1_000_000));
    let verify = |now: i64| access.verify(token.expose_secret(), at(now));

    assert!(verify(1_000_000 - 1800).is_ok());
    assert_eq!(verify(1_000_000 - 1801), Err(TokenError::Invalid));
    assert_eq!(verify(1_000_000 - 86_400), Err(TokenError::Invalid));
}

#[test]
fn an_access_token_carries_the_claims_of_the_contract() {
    let (token, lives) = access("current", None).issue(&session(), at(1_000_000));
    let (header, claims) = parts(&token);

    assert_eq!(lives.as_secs(), 900);
    assert_eq!(
        (&header["alg"], &header["typ"]),
        (&json!("HS256"), &json!("at+jwt"))
    );
    assert!(header["kid"].is_string());
    let names: BTreeSet<&str> = claims
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        names,
        BTreeSet::from([
            "iss",
            "aud",
            "sub",
            "userId",
            "sid",
            "jti",
            "role",
            "auth_time",
            "amr",
            "type",
            "iat",
            "exp"
        ])
    );
    assert_eq!(
        (&claims["type"], &claims["role"]),
        (&json!("access"), &json!("user"))
    );
    assert_eq!(
        (&claims["iat"], &claims["exp"]),
        (&json!(1_000_000), &json!(1_000_900))
    );
    assert_eq!(
        (&claims["auth_time"], &claims["amr"]),
        (&json!(999_000), &json!(["pwd", "otp", "mfa"]))
    );
}

#[test]
fn an_access_token_carries_the_applications_own_claims_under_their_namespace() {
    let namespace = Namespace::parse("https://example.com/claims").unwrap();
    let issuer = issuer(AccessKey::Held(signing("current").key), namespace);
    let own = serde_json::from_value(json!({ "plan": "pro", "exp": 1 })).unwrap();

    let (token, _) = issue(&issuer, &session(), &own, at(1_000_000));

    let (_, claims) = parts(&token);
    let expected = json!({ "plan": "pro", "exp": 1 });
    assert_eq!(claims["https://example.com/claims"], expected);
    assert_eq!(claims["exp"], 1_000_900);
    let read = access("current", None).verify(token.expose_secret(), at(1_000_000));
    assert_eq!(read.unwrap().custom["https://example.com/claims"], expected);
}

#[test]
fn another_implementation_reads_the_same() {
    let (token, _) = access("current", None).issue(&session(), at(1_000_000));
    let mut validation = jsonwebtoken::Validation::new(Algorithm::HS256);
    validation.set_issuer(&["https://issuer.example"]);
    validation.set_audience(&["audience"]);
    validation.validate_exp = false;
    let key = DecodingKey::from_secret(b"current");

    let read = jsonwebtoken::decode::<Value>(token.expose_secret(), &key, &validation).unwrap();

    assert_eq!(read.claims, parts(&token).1);
}

#[test]
fn a_signature_has_one_spelling() {
    let tokens = access("current", None);
    let (token, _) = tokens.issue(&session(), at(1_000_000));
    let token = token.expose_secret();
    let (message, signature) = token.rsplit_once('.').unwrap();
    // 32 bytes are 43 characters; the last character has two unused bits.
    let last = signature.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let other = alphabet
        .chars()
        .nth(alphabet.find(last).unwrap() + 1)
        .unwrap();
    for (spelling, is_valid) in [
        (signature.to_owned(), true),
        (format!("{signature}="), false),
        (format!("{}{other}", &signature[..42]), false),
        (signature[..42].to_owned(), false),
        (String::new(), false),
    ] {
        let read = tokens.verify(&format!("{message}.{spelling}"), at(1_000_000));

        assert_eq!(read.is_ok(), is_valid, "{spelling}");
    }
}

#[test]
fn a_token_is_valid_until_the_second_it_expires() {
    let tokens = access("current", None);
    let (token, _) = tokens.issue(&session(), at(1_000_000));

    assert!(tokens.verify(token.expose_secret(), at(1_000_899)).is_ok());
    assert_eq!(
        tokens.verify(token.expose_secret(), at(1_000_900)),
        Err(TokenError::Expired)
    );
}

#[test]
fn an_expired_token_still_names_its_session() {
    let tokens = access("current", None);
    let (token, _) = tokens.issue(&session(), at(1_000_000));
    let token = token.expose_secret();
    let (valid, expired) = (at(1_000_899), at(1_000_900));
    let session_of = |claims: Option<AccessClaims>| claims.map(|claims| claims.sid);

    let verifier = &tokens.verifier;
    assert_eq!(session_of(verifier.expired(token, valid)), None);
    for now in [valid, expired] {
        let claims = verifier.valid_or_expired(token, now);
        assert_eq!(session_of(claims), Some(session().id));
    }
    let claims = verifier.expired(token, expired);
    assert_eq!(session_of(claims), Some(session().id));

    let stranger = access("stranger", None).verifier;
    assert_eq!(session_of(stranger.valid_or_expired(token, valid)), None);
    assert_eq!(session_of(stranger.valid_or_expired(token, expired)), None);
}

#[test]
fn an_access_token_does_not_outlive_its_session() {
    let late = at(1_000_000 + 604_800 - 10);
    let (_, lives) = access("current", None).issue(&session(), late);

    assert_eq!(lives.as_secs(), 10);
}

#[test]
fn the_previous_secret_verifies_and_does_not_sign() {
    let now = at(1_000_000);
    let (old, _) = access("first", None).issue(&session(), now);
    let rotated = access("second", Some("first"));
    let (new, _) = rotated.issue(&session(), now);

    assert!(rotated.verify(old.expose_secret(), now).is_ok());
    assert!(rotated.verify(new.expose_secret(), now).is_ok());
    assert_eq!(
        access("first", None).verify(new.expose_secret(), now),
        Err(TokenError::Invalid)
    );
    assert_eq!(
        access("second", None).verify(old.expose_secret(), now),
        Err(TokenError::Invalid)
    );
}

#[test]
fn the_same_state_of_a_session_gives_the_same_refresh_token_to_the_byte() {
    let tokens = RefreshTokenIssuer::new(signing("current"));
    let verifier = RefreshTokenVerifier::new(verifying("current", None));
    let (first, lives) = tokens.issue(&session(), at(1_000_000));
    let (again, later) = tokens.issue(&session(), at(1_000_007));

    assert_eq!(first.expose_secret(), again.expose_secret());
    assert_eq!((lives.as_secs(), later.as_secs()), (604_800, 604_793));
    assert_eq!(
        verifier
            .verify(first.expose_secret(), at(1_000_000))
            .unwrap()
            .counter,
        3
    );
}

#[test]
fn a_token_made_after_its_request_came_lives_no_longer_for_it() {
    let tokens = RefreshTokenIssuer::new(signing("current"));

    let (_, lives) = tokens.issue(&session(), at(1_000_000 - 1));

    assert_eq!(lives.as_secs(), 604_800);
}

/// RFC 8725: the algorithm, the key and every claim.
#[test]
fn whatever_is_changed_the_token_is_invalid() {
    let now = at(1_000_000);
    let tokens = access("current", None);
    let (token, _) = tokens.issue(&session(), now);
    let (header, claims) = parts(&token);
    let with = |value: &Value, name: &str, new: Value| {
        let mut value = value.clone();
        value[name] = new;
        value
    };
    assert!(
        tokens
            .verify(&forge(&header, &claims, "current"), now)
            .is_ok(),
        "the forger works"
    );

    for header in [
        with(&header, "alg", json!("none")),
        with(&header, "alg", json!("HS512")),
        with(&header, "alg", json!("RS256")),
        with(&header, "typ", json!("JWT")),
        with(&header, "kid", json!("unknown")),
        with(&header, "kid", json!(null)),
        with(&header, "crit", json!(["b64"])),
    ] {
        assert_eq!(
            tokens.verify(&forge(&header, &claims, "current"), now),
            Err(TokenError::Invalid),
            "{header}"
        );
    }
    for claims in [
        with(&claims, "iss", json!("https://other.example")),
        with(&claims, "aud", json!("other")),
        with(&claims, "type", json!("refresh")),
        with(&claims, "sub", json!(Id::<()>::new(now, [9; 16]))),
        with(&claims, "role", json!("root")),
        with(&claims, "exp", json!(null)),
        with(&claims, "sid", json!("")),
    ] {
        assert_eq!(
            tokens.verify(&forge(&header, &claims, "current"), now),
            Err(TokenError::Invalid),
            "{claims}"
        );
    }
    assert_eq!(
        tokens.verify(&forge(&header, &claims, "guess"), now),
        Err(TokenError::Invalid)
    );
    let unsigned = token.expose_secret().rsplit_once('.').unwrap().0;
    assert_eq!(
        tokens.verify(&format!("{unsigned}."), now),
        Err(TokenError::Invalid)
    );
    assert_eq!(tokens.verify(unsigned, now), Err(TokenError::Invalid));
}

/// RFC 8725: the kind of a refresh token, and its user, which two claims name.
#[test]
fn a_refresh_token_whose_claims_contradict_each_other_is_invalid() {
    let now = at(1_000_000);
    let (token, _) = RefreshTokenIssuer::new(signing("current")).issue(&session(), now);
    let tokens = RefreshTokenVerifier::new(verifying("current", None));
    let (header, claims) = parts(&token);
    assert!(
        tokens
            .verify(&forge(&header, &claims, "current"), now)
            .is_ok(),
        "the forger works"
    );

    for (name, value) in [
        ("type", json!("access")),
        ("sub", json!(Id::<()>::new(now, [9; 16]))),
        ("userId", json!(Id::<()>::new(now, [9; 16]))),
    ] {
        let mut claims = claims.clone();
        claims[name] = value;
        let verified = tokens.verify(&forge(&header, &claims, "current"), now);
        assert_eq!(verified.err(), Some(TokenError::Invalid), "{claims}");
    }
}

#[test]
fn all_of_a_token_is_needed() {
    let now = at(1_000_000);
    let tokens = access("current", None);
    let (access_token, _) = tokens.issue(&session(), now);
    let refresh_tokens = RefreshTokenVerifier::new(verifying("current", None));
    let refresh_issuer = RefreshTokenIssuer::new(signing("current"));
    let (refresh_token, _) = refresh_issuer.issue(&session(), now);

    assert_all_is_needed(&access_token, "current", |token| {
        tokens.verify(token, now) != Err(TokenError::Invalid)
    });
    assert_all_is_needed(&refresh_token, "current", |token| {
        refresh_tokens.verify(token, now) != Err(TokenError::Invalid)
    });
}

#[test]
fn one_kind_of_token_is_not_accepted_as_the_other_even_under_one_secret() {
    let now = at(1_000_000);
    let access_tokens = access("same", None);
    let refresh_issuer = RefreshTokenIssuer::new(signing("same"));
    let refresh_tokens = RefreshTokenVerifier::new(verifying("same", None));
    let (access_token, _) = access_tokens.issue(&session(), now);
    let (refresh_token, _) = refresh_issuer.issue(&session(), now);

    assert_eq!(
        access_tokens.verify(refresh_token.expose_secret(), now),
        Err(TokenError::Invalid)
    );
    assert_eq!(
        refresh_tokens.verify(access_token.expose_secret(), now),
        Err(TokenError::Invalid)
    );
}

proptest! {
    #[test]
    fn no_text_is_a_token(text in any::<String>()) {
        prop_assert_eq!(access("current", None).verify(&text, at(0)), Err(TokenError::Invalid));
    }

    #[test]
    fn a_changed_character_makes_a_token_invalid(position in any::<prop::sample::Index>(), new in "[A-Za-z0-9_-]") {
        let tokens = access("current", None);
        let (token, _) = tokens.issue(&session(), at(1_000_000));
        let mut text = token.expose_secret().to_owned();
        let at_index = position.index(text.len());
        let last = text.len() - 1; // its lowest bits are unused
        prop_assume!(at_index != last && text[at_index..=at_index] != new && &text[at_index..=at_index] != ".");
        text.replace_range(at_index..=at_index, &new);

        prop_assert_eq!(tokens.verify(&text, at(1_000_000)), Err(TokenError::Invalid));
    }
}

/// Keys of their own, as their owner and as everybody else reads them.
mod key_pairs {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair,
    };
    use base64::engine::general_purpose::STANDARD;
    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{EncodingKey, Header};

    use super::*;

    fn rsa() -> SecretString {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der = key.as_der().unwrap();
        STANDARD.encode(der.as_ref()).into()
    }

    fn ec(curve: &'static EcdsaSigningAlgorithm) -> SecretString {
        let key = EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new()).unwrap();
        STANDARD.encode(key.as_ref()).into()
    }

    fn ed25519() -> SecretString {
        let key = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
        STANDARD.encode(key.as_ref()).into()
    }

    fn pem(key: &SecretString) -> String {
        let body = key.expose_secret();
        format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
    }

    /// Returns the public key, read by the library alone.
    fn public(key: &SecretString, algorithm: Algorithm) -> Value {
        let pem = pem(key);
        let key = match algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem(pem.as_bytes()),
            Algorithm::ES256 => EncodingKey::from_ec_pem(pem.as_bytes()),
            _ => EncodingKey::from_ed_pem(pem.as_bytes()),
        };
        json!(Jwk::from_encoding_key(&key.unwrap(), algorithm).unwrap())
    }

    fn set(keys: &[Value]) -> String {
        json!({ "keys": keys }).to_string()
    }

    fn issuer(key: &SecretString) -> AccessTokenIssuer {
        super::issuer(AccessKey::private(key).unwrap(), Namespace::default())
    }

    fn verifier(keys: &[Value]) -> AccessTokenVerifier {
        let keys = PublicKeys::parse(&set(keys)).unwrap();
        AccessTokenVerifier::new(VerifyingConfig {
            keys: keys.verifying_keys(),
            ..verifying("unused", None)
        })
    }

    fn issue(key: &SecretString) -> String {
        let none = CustomClaims::default();
        let (token, _) = super::issue(&issuer(key), &session(), &none, at(1_000_000));
        token.expose_secret().to_owned()
    }

    fn problem(set: &str) -> Option<InvalidKey> {
        PublicKeys::parse(set).err()
    }

    #[test]
    fn whoever_holds_the_public_key_verifies_and_knows_the_key_by_its_thumbprint() {
        for (key, algorithm, name) in [
            (rsa(), Algorithm::RS256, "RS256"),
            (
                ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
                Algorithm::ES256,
                "ES256",
            ),
            (ed25519(), Algorithm::EdDSA, "EdDSA"),
        ] {
            let public = public(&key, algorithm);
            let token = issue(&key);
            let (header, _) = parts(&token.clone().into());
            let published = json!(PublicKeys::parse(&set(std::slice::from_ref(&public))).unwrap());

            assert_eq!(header["alg"], name);
            assert_eq!(header["kid"], published["keys"][0]["kid"]);
            assert_eq!(published["keys"][0]["alg"], name);
            assert_eq!(published["keys"][0]["use"], "sig");
            let verifier = verifier(&[public]);
            assert!(verifier.verify(&token, at(1_000_000)).is_ok(), "{name}");
            let (message, signature) = token.rsplit_once('.').unwrap();
            let flipped = if signature.starts_with('A') { "B" } else { "A" };
            let forged = format!("{message}.{flipped}{}", &signature[1..]);
            assert_eq!(
                verifier.verify(&forged, at(1_000_000)),
                Err(TokenError::Invalid)
            );
        }
    }

    /// The key and its thumbprint are the example of RFC 7638, 3.1.
    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        let modulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRX\
                       jBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaS\
                       qzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksIN\
                       HaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let key =
            json!({ "kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29" });

        let published = json!(PublicKeys::parse(&set(&[key])).unwrap());

        let expected = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
        assert_eq!(published["keys"][0]["kid"], expected);
    }

    #[test]
    fn a_private_key_is_read_as_pem_too_also_with_escaped_line_breaks() {
        let key = rsa();
        let id = |text: String| SigningKey::private(&text.into()).unwrap().id;
        let expected = id(key.expose_secret().to_owned());

        assert_eq!(id(pem(&key)), expected);
        assert_eq!(id(pem(&key).replace('\n', "\\n")), expected);
    }

    #[test]
    fn what_is_no_private_key_or_too_weak_is_refused() {
        let short = "MIICWwIBAAKBgQCT4c3XA41ySUh5Kjx/EBcurkZieTgPeIOTB7ksEGfsMqgHFLuV7Wr0TS13/4xkFuaMZ1LRt4kUXoqLjdPa\
        sbLrFkQOZODqouf5Cq02t+Qfn+A+xJrAh0g5tRTaLmBMnzNjuicgaUPt9LynpodutymnyEDhNx1jXijbwc7Z+u1d8QIDAQAB\
        AoGAaL/rpEAZ8zhBo8HtNDvbj+9WX+5pbVv6Jy2zVqkQU9jV+J4Q+fRAbGg2qudTNJqcGBwgJ/kPmmQVUyDVTfXNO3DUCGu7\
        fF47ns1ZU5XzsAYwK+KXsl7mpMJDAGg0vcfUTj+4a68519g6ViCh15PDUup3cIHZtwd4x/+8OlrowYECQQDETKEkoQ4sCDiP\
        znbP5l27TV5e+FXkPyLSWROLVa5kKwJcUJGYwCmQ0r6AFR8eY61AlY2hw6JrXuHCEddqps35AkEAwNuG4l50rj2urGQIcxif\
        8gznX9MHN0NZCL3bVQZ1y1Ejz+j1O+5kXoT4FBU+s7711SioVgqdLIoIKF5sMgvtuQJAaTnWq+b1zN6/Sz9W601G84+exfQD\
        Pu4lQXLkii1s5V80zb2WvrZL0clWuxwXaVfvWI6StKNFXp8nD7w2qIIwKQJARtccZ8A8adhcdhRUijqMXfPhdXBloSYK6Uwb\
        6dJyqFlIp1Ex6264zYNYQMBBBPNrB35kvx4s97RIJNPyODvreQJAfaqqIjfMpCoRY8msF03zFgd0tobcBw5fXDWhdTQDzCPq\
        mKFtQoxpuU/rJwSnIXaltREGmWfNGuOuq5dv4CtW9w==";
        let p384 = ec(&ECDSA_P384_SHA384_FIXED_SIGNING);
        let truncated = rsa().expose_secret()[..400].to_owned();
        for text in [
            "",
            "a secret of 32 bytes or more, in words",
            short,
            p384.expose_secret(),
            &truncated,
            "-----BEGIN PRIVATE KEY-----",
            "arn:aws:kms:eu-west-1:123456789012:key/1234",
            "arn:aws:kms:eu-west-1:123456789012:key/1234#short",
            "arn:aws:kms:eu-west-1:123456789012:alias/key#NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
            "arn:aws:s3:eu-west-1:123456789012:key/1234#NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
        ] {
            let read = AccessKey::private(&text.into()).err();
            assert_eq!(read, Some(InvalidKey::NotPrivate), "{text}");
        }
    }

    #[test]
    fn what_is_no_set_of_public_keys_is_refused() {
        for text in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"keys":[]}"#,
            r#"{"keys":{}}"#,
            r#"{"keys":["x"]}"#,
        ] {
            assert_eq!(problem(text), Some(InvalidKey::NotPublic), "{text}");
        }
        let short = json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xff; 255]), "e": "AQAB" });
        assert_eq!(problem(&set(&[short])), Some(InvalidKey::TooShort));
        // Zeros in front make a modulus no longer.
        let padded = [&[0; 64][..], &[0xff; 200]].concat();
        let padded = json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(padded), "e": "AQAB" });
        assert_eq!(problem(&set(&[padded])), Some(InvalidKey::TooShort));
        let no_number = json!({ "kty": "RSA", "n": "???", "e": "AQAB" });
        assert_eq!(problem(&set(&[no_number])), Some(InvalidKey::NotPublic));
        for key in [
            json!({ "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA" }),
            json!({ "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA" }),
            json!({ "kty": "unknown" }),
            json!({}),
        ] {
            assert_eq!(
                problem(&set(std::slice::from_ref(&key))),
                Some(InvalidKey::Unsupported),
                "{key}"
            );
        }
    }

    /// The set is published, so it must not even begin to be read.
    #[test]
    fn a_set_with_a_private_key_or_a_secret_is_refused() {
        let good = public(&rsa(), Algorithm::RS256);
        let secret = json!({ "kty": "oct", "k": "AAAA" });
        assert_eq!(
            problem(&set(&[good.clone(), secret])),
            Some(InvalidKey::Exposed)
        );
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            let mut private = good.clone();
            private[member] = json!("AQAB");
            let keys = [good.clone(), private];
            assert_eq!(problem(&set(&keys)), Some(InvalidKey::Exposed), "{member}");
        }
    }

    /// security.md 16: neither another algorithm of the key nor the published key as an HMAC secret.
    #[test]
    fn each_key_has_one_algorithm() {
        let key = rsa();
        let public = public(&key, Algorithm::RS256);
        let verifier = verifier(std::slice::from_ref(&public));
        let token = issue(&key);
        let (header, claims) = parts(&token.into());
        let pem = pem(&key);
        let encoding = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
        let signed = |algorithm: Algorithm| {
            let mut own = Header::new(algorithm);
            own.typ = Some("at+jwt".to_owned());
            own.kid = header["kid"].as_str().map(str::to_owned);
            jsonwebtoken::encode(&own, &claims, &encoding).unwrap()
        };
        assert!(
            verifier
                .verify(&signed(Algorithm::RS256), at(1_000_000))
                .is_ok()
        );

        for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
            let verified = verifier.verify(&signed(algorithm), at(1_000_000));
            assert_eq!(verified, Err(TokenError::Invalid), "{algorithm:?}");
        }
        let mut symmetric = header.clone();
        symmetric["alg"] = json!("HS256");
        for secret in [
            public["n"].as_str().unwrap(),
            &set(std::slice::from_ref(&public)),
            "",
        ] {
            for header in [&symmetric, &header] {
                let forged = forge(header, &claims, secret);
                let verified = verifier.verify(&forged, at(1_000_000));
                assert_eq!(verified, Err(TokenError::Invalid), "{header} {secret}");
            }
        }
    }

    #[test]
    fn next_current_and_previous_key_verify_and_a_retired_one_does_not() {
        let keys = [rsa(), ec(&ECDSA_P256_SHA256_FIXED_SIGNING), ed25519()];
        let algorithms = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
        let published = [0, 1, 2].map(|at| public(&keys[at], algorithms[at]));
        let verify = |keys: &[Value], token: &str| verifier(keys).verify(token, at(1_000_000));

        for key in &keys {
            assert!(verify(&published, &issue(key)).is_ok());
        }
        let retired = verify(&published[1..], &issue(&keys[0]));
        assert_eq!(retired, Err(TokenError::Invalid));
        let algorithms = PublicKeys::parse(&set(&published)).unwrap().algorithms();
        assert_eq!(algorithms, ["ES256", "EdDSA", "RS256"]);
    }

    /// A token that KMS signs is the one that a held key would have signed.
    #[test]
    fn a_token_that_kms_signs_differs_in_nothing() {
        let key = rsa();
        let id = parts(&issue(&key).into()).0["kid"]
            .as_str()
            .unwrap()
            .to_owned();
        let arn = "arn:aws:kms:eu-west-1:123456789012:key/1234";
        let kms = AccessKey::private(&format!("{arn}#{id}").into()).unwrap();
        let issuer = super::issuer(kms, Namespace::default());
        assert!(issuer.signs_with_kms());
        let none = CustomClaims::default();

        let issued = issuer
            .issue(&session(), Role::User, &none, at(1_000_000), [0; 16])
            .0;

        let IssuedAccessToken::Unsigned(token, named) = issued else {
            panic!("KMS holds the key");
        };
        assert_eq!(named.arn, arn);
        let held = EncodingKey::from_rsa_pem(pem(&key).as_bytes()).unwrap();
        let signature = jsonwebtoken::crypto::sign(token.message(), &held, Algorithm::RS256);
        let signature = URL_SAFE_NO_PAD.decode(signature.unwrap()).unwrap();
        assert_eq!(token.signed(&signature).expose_secret(), issue(&key));
    }
}
