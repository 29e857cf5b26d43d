//! The keys of tokens: a shared secret (HS256), or a private key whose public keys anybody may hold (RS256, ES256,
//! EdDSA).

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, PublicKeyUse, ThumbprintHash,
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

/// The minimum length of an RSA modulus: 2048 bits (RFC 7518, 3.3).
const MIN_RSA_BYTES: usize = 256;

/// The members of a JWK that make it a private or a shared key (RFC 7518, 6.2.2, 6.3.2 and 6.4; RFC 8037, 2).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A key that signs tokens.
#[derive(Clone)]
pub struct SigningKey {
    pub(super) algorithm: Algorithm,
    pub(super) id: String,
    pub(super) key: EncodingKey,
}

/// A key that signs access tokens.
#[derive(Clone)]
pub enum AccessKey {
    /// A key that this process holds.
    Held(SigningKey),
    /// A key that never leaves KMS.
    Kms(KmsKey),
}

/// A key of AWS KMS for RS256 (`RSASSA_PKCS1_V1_5_SHA_256`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsKey {
    /// The key's ARN.
    pub arn: String,
    /// The id in the tokens' headers: the thumbprint of the public key (RFC 7638).
    pub(super) id: String,
}

/// A key that verifies tokens.
#[derive(Clone)]
pub struct VerifyingKey {
    pub(super) algorithm: Algorithm,
    pub(super) id: String,
    pub(super) key: DecodingKey,
}

/// Why a key is not accepted. The message completes a sentence that begins with the variable's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidKey {
    /// It is no private key in PKCS#8, or one of another kind, or too short.
    NotPrivate,
    /// It is not a set of public keys.
    NotPublic,
    /// A set that everybody may read contains a private key or a secret.
    Exposed,
    /// A public RSA key of less than 2048 bits.
    TooShort,
    /// A public key of another kind or curve.
    Unsupported,
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPrivate => {
                "must be a private key in PKCS#8, as PEM or as its base64 text: of RSA with 2048 bits or more, of the \
                 curve P-256, or of Ed25519; or the ARN of a key in KMS, # and its thumbprint"
            }
            Self::NotPublic => "must be a JSON Web Key Set with at least one public key",
            Self::Exposed => "must hold public keys alone, and holds a private key or a secret",
            Self::TooShort => "has an RSA key of less than 2048 bits",
            Self::Unsupported => "must hold keys of RSA, of the curve P-256 or of Ed25519",
        })
    }
}

impl SigningKey {
    /// Creates a key for HS256 (RFC 7518, 3.2).
    pub fn symmetric(secret: &SecretString) -> Self {
        Self {
            algorithm: Algorithm::HS256,
            id: key_id(secret),
            key: EncodingKey::from_secret(secret.expose_secret().as_bytes()),
        }
    }

    /// Creates a key from a private key in PKCS#8 (RFC 5208), as PEM or as the base64 text within: RS256 for RSA, ES256
    /// for P-256, EdDSA for Ed25519.
    ///
    /// # Errors
    /// `NotPrivate`.
    pub fn private(pkcs8: &SecretString) -> Result<Self, InvalidKey> {
        let pem = pem(pkcs8);
        let pem = pem.as_bytes();
        let (algorithm, key) = if let Ok(key) = EncodingKey::from_rsa_pem(pem) {
            (Algorithm::RS256, key)
        } else if let Ok(key) = EncodingKey::from_ec_pem(pem) {
            (Algorithm::ES256, key)
        } else if let Ok(key) = EncodingKey::from_ed_pem(pem) {
            (Algorithm::EdDSA, key)
        } else {
            return Err(InvalidKey::NotPrivate);
        };
        let public = Jwk::from_encoding_key(&key, algorithm).map_err(|_| InvalidKey::NotPrivate)?;
        let VerifyingKey { id, .. } =
            VerifyingKey::public(&public).map_err(|_| InvalidKey::NotPrivate)?;
        Ok(Self { algorithm, id, key })
    }
}

impl AccessKey {
    /// Creates a key from a private key ([`SigningKey::private`]), or from the ARN of a key in KMS, `#` and the
    /// thumbprint of its public key.
    ///
    /// # Errors
    /// `NotPrivate`.
    pub fn private(text: &SecretString) -> Result<Self, InvalidKey> {
        if !text.expose_secret().starts_with("arn:") {
            return SigningKey::private(text).map(Self::Held);
        }
        let key = KmsKey::parse(text.expose_secret());
        key.map(Self::Kms).ok_or(InvalidKey::NotPrivate)
    }
}

impl KmsKey {
    fn parse(text: &str) -> Option<Self> {
        let (arn, id) = text.split_once('#')?;
        let mut parts = arn.split(':').skip(2);
        let is_key = parts.next() == Some("kms") && parts.nth(2)?.starts_with("key/");
        let is_thumbprint = URL_SAFE_NO_PAD
            .decode(id)
            .is_ok_and(|hash| hash.len() == 32);
        (is_key && is_thumbprint).then(|| Self {
            arn: arn.to_owned(),
            id: id.to_owned(),
        })
    }
}

/// Returns the PEM text of a key that is given as PEM or as the base64 text within.
fn pem(text: &SecretString) -> Zeroizing<String> {
    // A variable may have its line breaks as `\n`.
    let text = Zeroizing::new(text.expose_secret().replace("\\n", "\n"));
    if text.contains("-----BEGIN") {
        return text;
    }
    let wrap =
        |body: &str| format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    Zeroizing::new(wrap(text.trim()))
}

impl VerifyingKey {
    /// Creates a key for HS256.
    pub fn symmetric(secret: &SecretString) -> Self {
        Self {
            algorithm: Algorithm::HS256,
            id: key_id(secret),
            key: DecodingKey::from_secret(secret.expose_secret().as_bytes()),
        }
    }

    /// Creates a key from a public one; its id is the thumbprint (RFC 7638).
    fn public(jwk: &Jwk) -> Result<Self, InvalidKey> {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => {
                let modulus = URL_SAFE_NO_PAD.decode(&rsa.n);
                let modulus = modulus.map_err(|_| InvalidKey::NotPublic)?;
                let modulus = modulus.iter().skip_while(|byte| **byte == 0);
                if modulus.count() < MIN_RSA_BYTES {
                    return Err(InvalidKey::TooShort);
                }
                Algorithm::RS256
            }
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
                Algorithm::ES256
            }
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                Algorithm::EdDSA
            }
            AlgorithmParameters::OctetKey(_) => return Err(InvalidKey::Exposed),
            _ => return Err(InvalidKey::Unsupported),
        };
        let key = DecodingKey::from_jwk(jwk).map_err(|_| InvalidKey::NotPublic)?;
        let id = jwk.thumbprint(ThumbprintHash::SHA256);
        let id = id.map_err(|_| InvalidKey::NotPublic)?;
        Ok(Self { algorithm, id, key })
    }
}

/// Public keys, as everybody may read them (RFC 7517, 5).
#[derive(Clone, Default, Serialize)]
pub struct PublicKeys {
    keys: Vec<Jwk>,
    #[serde(skip)]
    verifying: Vec<VerifyingKey>,
}

impl PublicKeys {
    /// Reads a JSON Web Key Set. Its order is kept. Each key gets its thumbprint (RFC 7638) as `kid`, and `alg` and
    /// `use`.
    ///
    /// # Errors
    /// `NotPublic`, `Exposed`, `TooShort` or `Unsupported`.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let set: Value = serde_json::from_str(text).map_err(|_| InvalidKey::NotPublic)?;
        let keys = set["keys"].as_array().ok_or(InvalidKey::NotPublic)?;
        let keys: Result<Vec<_>, InvalidKey> = keys.iter().map(public_key).collect();
        let (keys, verifying): (Vec<_>, Vec<_>) = keys?.into_iter().unzip();
        match keys.is_empty() {
            true => Err(InvalidKey::NotPublic),
            false => Ok(Self { keys, verifying }),
        }
    }

    /// Returns the keys for verifying, in their order.
    pub fn verifying_keys(self) -> Vec<VerifyingKey> {
        self.verifying
    }

    /// Returns the algorithms of the keys, each once.
    pub fn algorithms(&self) -> Vec<String> {
        let named = self.keys.iter().filter_map(|key| key.common.key_algorithm);
        let mut names: Vec<String> = named.map(|algorithm| algorithm.to_string()).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Reads a public key, as it is published and for verifying.
fn public_key(value: &Value) -> Result<(Jwk, VerifyingKey), InvalidKey> {
    let members = value.as_object().ok_or(InvalidKey::NotPublic)?;
    if PRIVATE_MEMBERS
        .iter()
        .any(|name| members.contains_key(*name))
    {
        return Err(InvalidKey::Exposed);
    }
    let jwk = Jwk::deserialize(value).map_err(|_| InvalidKey::Unsupported)?;
    let key = VerifyingKey::public(&jwk)?;
    let common = CommonParameters {
        public_key_use: Some(PublicKeyUse::Signature),
        key_algorithm: Some(key.algorithm.into()),
        key_id: Some(key.id.clone()),
        ..CommonParameters::default()
    };
    Ok((Jwk { common, ..jwk }, key))
}

/// Returns an identifier of a secret that reveals nothing about it.
pub(in crate::domain) fn key_id(secret: &SecretString) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    URL_SAFE_NO_PAD.encode(&hmac::sign(&key, b"gatehouse key id").as_ref()[..8])
}
