//! An authenticator with one passkey, and the browser in front of it (WebAuthn Level 3), implemented independently of
//! the code under test. Its fields are public, so that a test can make a bad one.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ciborium::Value as Cbor;
use serde_json::{Value, json};

use crate::{Account, Answer, Client, World, token};

/// The flags of authenticator data (6.1).
pub mod flags {
    pub const USER_PRESENT: u8 = 1;
    pub const USER_VERIFIED: u8 = 1 << 2;
    pub const BACKUP_ELIGIBLE: u8 = 1 << 3;
    pub const BACKED_UP: u8 = 1 << 4;
    pub const ATTESTED: u8 = 1 << 6;
}

/// The COSE algorithm ES256.
const ES256: i64 = -7;

/// An authenticator with one key pair.
pub struct Passkey {
    /// The key pair.
    pub key: EcdsaKeyPair,
    /// The credential id.
    pub id: Vec<u8>,
    /// The user handle: whose passkey it is.
    pub user: Vec<u8>,
    /// The signature counter; it stays 0 if the authenticator has none.
    pub counter: u32,
    /// What the authenticator says about the user and the key.
    pub flags: u8,
    /// The origin of the page, if it is not the site's.
    pub origin: Option<String>,
    /// The site, if it is not the options'.
    pub site: Option<String>,
}

impl Default for Passkey {
    fn default() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING);
        let mut id = vec![0; 32];
        rand::fill(&mut id).expect("randomness");
        Self {
            key: key.expect("a key"),
            id,
            user: Vec::new(),
            counter: 0,
            flags: flags::USER_PRESENT | flags::USER_VERIFIED,
            origin: None,
            site: None,
        }
    }
}

impl Passkey {
    /// Adds a passkey to an account.
    pub async fn of(client: &Client, account: &Account) -> Self {
        let mut passkey = Self::default();
        let added = passkey.register(client, &account.access).await;
        assert_eq!(added.status, 200, "{added:?}");
        passkey
    }

    /// Asks for options, creates the passkey and registers it.
    pub async fn register(&mut self, client: &Client, access: &str) -> Answer {
        let options = register_options(client, access, json!({})).await;
        assert_eq!(options.status, 200, "{options:?}");
        let credential = self.create(&options["publicKey"]);
        let body = json!({ "credential": credential, "name": "Laptop" });
        let path = "/api/auth/passkeys/register";
        client.post_as(access, path, body).await
    }

    /// Asks for options, and signs in.
    pub async fn login(&mut self, client: &Client) -> Answer {
        let options = login_options(client).await;
        let credential = self.get(&options);
        login(client, credential).await
    }

    /// Answers the options of a registration, as `navigator.credentials.create()` does.
    pub fn create(&mut self, options: &Value) -> Value {
        let user = options["user"]["id"].as_str().expect("a user");
        self.user = URL_SAFE_NO_PAD.decode(user).expect("base64url");
        let site = options["rp"]["id"].as_str().expect("a site");
        let mut data = self.data(site, self.flags | flags::ATTESTED);
        data.extend([0; 16]); // an AAGUID that names no model
        data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        data.extend(&self.id);
        data.extend(cbor(&self.public_key()));
        let text = |text: &str| Cbor::Text(text.to_owned());
        let attestation = Cbor::Map(vec![
            (text("fmt"), text("none")),
            (text("attStmt"), Cbor::Map(Vec::new())),
            (text("authData"), Cbor::Bytes(data)),
        ]);
        let response = json!({
            "clientDataJSON": base64url(&self.client_data("webauthn.create", site, options)),
            "attestationObject": base64url(&cbor(&attestation)),
            "transports": ["internal"],
        });
        self.credential(&response)
    }

    /// Answers the options of a sign-in, as `navigator.credentials.get()` does.
    pub fn get(&mut self, options: &Value) -> Value {
        let site = options["rpId"].as_str().expect("a site");
        let client_data = self.client_data("webauthn.get", site, options);
        let data = self.data(site, self.flags);
        let mut signed = data.clone();
        signed.extend(digest(&SHA256, &client_data).as_ref());
        let signature = self.key.sign(&SystemRandom::new(), &signed);
        let response = json!({
            "clientDataJSON": base64url(&client_data),
            "authenticatorData": base64url(&data),
            "signature": base64url(signature.expect("a signature").as_ref()),
            "userHandle": base64url(&self.user),
        });
        self.credential(&response)
    }

    fn credential(&self, response: &Value) -> Value {
        json!({
            "id": base64url(&self.id), "rawId": base64url(&self.id), "type": "public-key", "response": response,
            "authenticatorAttachment": "platform", "clientExtensionResults": {},
        })
    }

    fn client_data(&self, kind: &str, site: &str, options: &Value) -> Vec<u8> {
        let own = match site {
            "localhost" => "http://localhost:5173".to_owned(),
            site => format!("https://{site}"),
        };
        let origin = self.origin.clone().unwrap_or(own);
        let data = json!({ "type": kind, "challenge": options["challenge"], "origin": origin, "crossOrigin": false });
        data.to_string().into_bytes()
    }

    fn data(&self, site: &str, flags: u8) -> Vec<u8> {
        let site = self.site.as_deref().unwrap_or(site);
        let mut data = digest(&SHA256, site.as_bytes()).as_ref().to_vec();
        data.push(flags);
        data.extend(self.counter.to_be_bytes());
        data
    }

    /// Returns the public key as a `COSE_Key` (RFC 9053, 7.1.1).
    fn public_key(&self) -> Cbor {
        let point = self.key.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        let integer = |number: i64| Cbor::Integer(number.into());
        let entries = [
            (1, integer(2)), // an elliptic curve with x and y
            (3, integer(ES256)),
            (-1, integer(1)), // P-256
            (-2, Cbor::Bytes(x.to_vec())),
            (-3, Cbor::Bytes(y.to_vec())),
        ];
        Cbor::Map(
            entries
                .into_iter()
                .map(|(key, value)| (integer(key), value))
                .collect(),
        )
    }
}

/// Asks for the options of a registration.
pub async fn register_options(client: &Client, access: &str, body: Value) -> Answer {
    let path = "/api/auth/passkeys/register/options";
    client.post_as(access, path, body).await
}

/// Asks for the options of a sign-in.
pub async fn login_options(client: &Client) -> Value {
    let path = "/api/auth/passkeys/login/options";
    let answer = client.post(path, json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer["publicKey"].clone()
}

/// Signs in with the answer of an authenticator.
pub async fn login(client: &Client, credential: Value) -> Answer {
    let body = json!({ "credential": credential });
    client.post("/api/auth/passkeys/login", body).await
}

/// Registers a user and proves the address.
pub async fn proven(world: &World, client: &Client) -> Account {
    let account = client.register().await;
    let mail = world.mail(&account.email, "Verify").await;
    client.verify_email(&account, &token::in_mail(&mail)).await;
    account
}

/// Removes a passkey.
pub async fn remove(client: &Client, access: &str, id: &Value, body: Value) -> Answer {
    let path = format!("/api/auth/passkeys/{}", id.as_str().unwrap_or("unknown"));
    client.delete_as(access, &path, body).await
}

/// Returns the account's passkeys.
pub async fn listed(client: &Client, access: &str) -> Vec<Value> {
    let profile = client.profile(access).await;
    profile["passkeys"].as_array().expect("a list").clone()
}

/// Checks that a sign-in was refused.
#[track_caller]
pub fn assert_refused(answer: &Answer, what: &str) {
    let seen = (answer.status.as_u16(), answer.code());
    assert_eq!(seen, (401, "passkey_invalid"), "{what}: {answer:?}");
}

/// Checks that a registration was refused by this rule.
#[track_caller]
pub fn assert_invalid(answer: &Answer, rule: &str, what: &str) {
    assert_eq!(answer.code(), "validation_failed", "{what}: {answer:?}");
    let detail = &answer["details"][0];
    assert_eq!(
        (&detail["field"], &detail["code"]),
        (&json!("credential"), &json!(rule)),
        "{what}"
    );
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn cbor(value: &Cbor) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("CBOR");
    bytes
}
