//! JWTs (RFC 7519) under the rules of RFC 8725 and RFC 9068. `alg` is pinned, `kid` selects one of the configured keys,
//! and every claim is compared.

use std::marker::PhantomData;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::KeyAlgorithm;
use jsonwebtoken::{Algorithm, EncodingKey, Header, Validation};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::keys::{SigningKey, VerifyingKey};
use crate::domain::timestamp::Timestamp;

/// The configuration for signing one kind of token.
#[derive(Clone)]
pub struct SigningConfig {
    /// The key.
    pub key: SigningKey,
    /// The claim `iss`.
    pub issuer: String,
    /// The claim `aud`.
    pub audience: String,
}

/// The configuration for verifying one kind of token.
#[derive(Clone)]
pub struct VerifyingConfig {
    /// The keys: the current one, a previous one until the last token signed with it has expired, and a next one.
    pub keys: Vec<VerifyingKey>,
    /// The claim `iss`.
    pub issuer: String,
    /// The claim `aud`.
    pub audience: String,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// The token is not ours, not of this kind, or was tampered with.
    Invalid,
    /// The token was valid, but has expired.
    Expired,
}

/// The claims of one kind of token, in addition to those that every token has.
pub trait Claims: Serialize + DeserializeOwned {
    /// The type in the header: explicit typing (RFC 8725, 3.11), so that no kind of token is accepted as another.
    const TYPE: &'static str;

    /// Returns whether the claims agree with each other and name this kind of token.
    fn are_consistent(&self) -> bool;
}

/// All claims of a token.
#[derive(Serialize, Deserialize)]
struct AllClaims<C> {
    iss: String,
    aud: String,
    iat: i64,
    exp: i64,
    #[serde(flatten)]
    own: C,
}

/// How far in the future a token may have been issued. A function's clock may be slow by minutes without any other
/// failure. A clock that is slower still would accept tokens that expired long ago.
const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_secs(30 * 60);

/// The header's `alg` as a text: the library's enumeration also reads `{"HS256":null}`.
#[derive(Deserialize)]
struct NamedAlgorithm {
    alg: String,
}

/// Issues one kind of token with a key that this process holds.
pub struct Issuer<C> {
    form: Form<C>,
    key: EncodingKey,
}

impl<C: Claims> Issuer<C> {
    /// Creates an issuer with this key.
    pub fn new(config: SigningConfig) -> Self {
        let (key, names) = (config.key, (config.issuer, config.audience));
        Self {
            form: Form::new(key.algorithm, key.id, names),
            key: key.key,
        }
    }

    /// Signs a token with these claims; `iat` and `exp` are seconds since the Unix epoch.
    #[expect(clippy::expect_used, reason = "a key that was read signs")]
    pub(in crate::domain) fn sign(&self, own: C, iat: i64, exp: i64) -> SecretString {
        let Unsigned(message) = self.form.unsigned(own, iat, exp);
        let algorithm = self.form.header.alg;
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, algorithm);
        SecretString::from(format!("{message}.{}", signature.expect("a signature")))
    }
}

/// The header of one kind of token, and the claims that all of them have.
pub(super) struct Form<C> {
    header: Header,
    issuer: String,
    audience: String,
    claims: PhantomData<fn(C)>,
}

impl<C: Claims> Form<C> {
    pub(super) fn new(
        algorithm: Algorithm,
        key_id: String,
        (issuer, audience): (String, String),
    ) -> Self {
        let mut header = Header::new(algorithm);
        header.typ = Some(C::TYPE.to_owned());
        header.kid = Some(key_id);
        Self {
            header,
            issuer,
            audience,
            claims: PhantomData,
        }
    }

    /// Returns a token without its signature.
    #[expect(clippy::expect_used, reason = "all plain structs become JSON")]
    pub(super) fn unsigned(&self, own: C, iat: i64, exp: i64) -> Unsigned {
        let claims = AllClaims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            iat,
            exp,
            own,
        };
        let header = serde_json::to_vec(&self.header).expect("a header");
        let claims = serde_json::to_vec(&claims).expect("claims");
        Unsigned(
            [header, claims]
                .map(|part| URL_SAFE_NO_PAD.encode(part))
                .join("."),
        )
    }
}

/// A token without its signature.
pub struct Unsigned(String);

impl Unsigned {
    /// Returns the bytes to sign (RFC 7515, 5.1).
    pub fn message(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Adds the signature.
    pub fn signed(self, signature: &[u8]) -> SecretString {
        SecretString::from(format!("{}.{}", self.0, URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Verifies one kind of token.
pub struct Verifier<C> {
    keys: Vec<PinnedKey>,
    claims: PhantomData<fn(C)>,
}

/// A key with the only algorithm that it is used with: the token must not choose it (RFC 8725, 3.1).
struct PinnedKey {
    key: VerifyingKey,
    algorithm: String,
    validation: Validation,
}

impl<C: Claims> Verifier<C> {
    /// Creates a verifier with these keys.
    pub fn new(config: VerifyingConfig) -> Self {
        let pinned = |key: VerifyingKey| {
            let mut validation = Validation::new(key.algorithm);
            validation.set_issuer(&[&config.issuer]);
            validation.set_audience(&[&config.audience]);
            // The time is an argument; expiry is checked below.
            validation.validate_exp = false;
            PinnedKey {
                algorithm: KeyAlgorithm::from(key.algorithm).to_string(),
                key,
                validation,
            }
        };
        Self {
            keys: config.keys.into_iter().map(pinned).collect(),
            claims: PhantomData,
        }
    }

    /// Returns the claims of a token that is valid now.
    ///
    /// # Errors
    /// [`TokenError::Expired`] for a token that was valid once, otherwise [`TokenError::Invalid`].
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<C, TokenError> {
        let claims = self.decode(token).ok_or(TokenError::Invalid)?;
        if !claims.own.are_consistent() {
            return Err(TokenError::Invalid);
        }
        if claims.iat > now.plus(MAX_CLOCK_DIFFERENCE).seconds() {
            return Err(TokenError::Invalid);
        }
        // RFC 7519, 4.1.4: on or after `exp` the token must not be accepted.
        match now.seconds() < claims.exp {
            true => Ok(claims.own),
            false => Err(TokenError::Expired),
        }
    }

    /// Returns the claims of a token that is or was valid: sufficient only to end its session.
    pub fn valid_or_expired(&self, token: &str, now: Timestamp) -> Option<C> {
        let valid = self.verify(token, now).ok();
        valid.or_else(|| self.expired(token, now))
    }

    /// Returns the claims of a token that was valid and has expired: sufficient only to know whom to charge.
    pub fn expired(&self, token: &str, now: Timestamp) -> Option<C> {
        match self.verify(token, now) {
            Err(TokenError::Expired) => Some(self.decode(token)?.own),
            _ => None,
        }
    }

    fn decode(&self, token: &str) -> Option<AllClaims<C>> {
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?;
        let NamedAlgorithm { alg } = serde_json::from_slice(&header).ok()?;
        let header = jsonwebtoken::decode_header(token).ok()?;
        let is_of_this_kind = header.typ?.eq_ignore_ascii_case(C::TYPE);
        // RFC 7515, 4.1.11: the library ignores `crit`, which names extensions that must be understood.
        if !is_of_this_kind || header.crit.is_some() {
            return None;
        }
        let mut keys = self.keys.iter();
        let pinned = keys.find(|pinned| header.kid.as_ref() == Some(&pinned.key.id))?;
        if alg != pinned.algorithm {
            return None;
        }
        let token = jsonwebtoken::decode(token, &pinned.key.key, &pinned.validation).ok()?;
        Some(token.claims)
    }
}

/// Returns all claims of a token that was verified.
pub fn claims_of_verified(token: &str) -> Option<Map<String, Value>> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&claims).ok()
}
