//! Passkeys: the two ceremonies of Web Authentication, by `webauthn-rs`.
//!
//! A passkey is a key pair in an authenticator (a phone, a computer, a security key) for this site alone. It must verify
//! its user by a PIN or a biometric, so it counts as two factors (NIST SP 800-63B-4, 3.1.7), and as it works at the
//! site's own origins alone, a copied page gets nothing (phishing resistance, 3.2.5). The authenticator proposes the
//! account itself (a discoverable credential), so a sign-in needs no address and reveals none.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use webauthn_rs::prelude::{
    CredentialID, DiscoverableAuthentication, Passkey, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, Uuid, Webauthn, WebauthnBuilder, WebauthnError,
};

use super::frontends::Frontends;
use crate::api::PasskeyCredential;
use crate::config::Environment;
use crate::domain::id::PasskeyId;
use crate::domain::rule::rule;
use crate::domain::session::SessionId;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{MAX_PASSKEYS, User, UserId};
use crate::error::ApiError;
use crate::random;
use crate::store::passkey_challenges::PasskeyChallenges;
use crate::store::passkeys::{PasskeyStore, StoredPasskey};

/// The most bytes of a credential id (WebAuthn Level 3, 4); a longer one has no place in a key of the table.
const MAX_CREDENTIAL_ID: usize = 1023;

/// Registers and verifies passkeys.
pub struct Passkeys {
    /// `None` if there is no relying party, and so no passkeys.
    webauthn: Option<Webauthn>,
    challenges: PasskeyChallenges,
    /// The stored passkeys.
    pub store: PasskeyStore,
}

/// A registration that has begun; only the session that began it can end it.
#[derive(Serialize, Deserialize)]
struct Registration {
    user_id: UserId,
    session_id: SessionId,
    registration: PasskeyRegistration,
}

/// A sign-in that has begun.
#[derive(Serialize, Deserialize)]
struct Authentication {
    authentication: DiscoverableAuthentication,
}

/// A passkey that has just been registered, and is not stored yet.
pub struct NewPasskey {
    /// The credential id in base64url.
    pub credential_id: String,
    /// The passkey.
    pub stored: StoredPasskey,
}

/// A passkey that has proven its user.
pub struct VerifiedPasskey {
    /// The credential id in base64url.
    pub credential_id: String,
    /// The passkey as it is stored.
    pub stored: StoredPasskey,
    /// The credential with its new counter and flags, if they have changed.
    pub updated: Option<String>,
}

/// Why an assertion was not accepted.
#[derive(Debug)]
pub enum Unverified {
    /// The challenge is unknown, used or expired, the credential is unknown, or the signature is not valid; with the
    /// owner of the credential, if it is known.
    Invalid(Option<UserId>),
    /// The signature is valid, but its counter is not above the last one: somebody may have copied the authenticator
    /// (WebAuthn Level 3, 6.1.1).
    Cloned(UserId),
}

impl Passkeys {
    /// Reads `RP_ID`, `RP_ORIGINS`, `FRONTEND_URL`, `APP_NAME` and the variables of both stores. Without `RP_ID`, it is
    /// the host of the first front end; without `RP_ORIGINS`, they are those of the front ends within `RP_ID`. Without a
    /// domain there are no passkeys: every request is answered `not_found`.
    pub fn from_env(environment: &mut Environment) -> Self {
        Self {
            webauthn: webauthn(environment),
            challenges: PasskeyChallenges::from_env(environment),
            store: PasskeyStore::from_env(environment),
        }
    }

    fn webauthn(&self) -> Result<&Webauthn, ApiError> {
        self.webauthn.as_ref().ok_or(ApiError::NotFound)
    }

    /// Begins a registration, and returns the options for `navigator.credentials.create()`.
    ///
    /// # Errors
    /// `validation_failed` for one passkey too many, `not_found` without passkeys; `service_unavailable` or
    /// `internal_error` if the store fails.
    pub async fn begin_registration(
        &self,
        user: &User,
        session_id: SessionId,
    ) -> Result<Value, ApiError> {
        check_count(user)?;
        let known = user.passkeys.values();
        let known = known.filter_map(|passkey| credential_id(&passkey.credential_id));
        let (id, email) = (Uuid::from_bytes(user.id.to_bytes()), user.email.as_str());
        let name = user.name.as_ref().map_or(email, |name| name.as_str());
        let began =
            self.webauthn()?
                .start_passkey_registration(id, email, name, Some(known.collect()));
        let (options, registration) = began.map_err(unexpected)?;
        let registration = Registration {
            user_id: user.id,
            session_id,
            registration,
        };
        let challenge = options.public_key.challenge.as_slice();
        self.challenges.create(challenge, &registration).await?;
        let mut options = to_value(&options.public_key)?;
        // So that a sign-in needs no identifier. The library only asks for it.
        let selection = &mut options["authenticatorSelection"];
        selection["requireResidentKey"] = true.into();
        selection["residentKey"] = "required".into();
        Ok(options)
    }

    /// Verifies the answer of `navigator.credentials.create()`.
    ///
    /// # Errors
    /// `validation_failed` if it is not valid, its challenge was used or has expired, or another session began;
    /// `service_unavailable` or `internal_error` if the store fails.
    pub async fn finish_registration(
        &self,
        user: &User,
        session_id: SessionId,
        credential: PasskeyCredential,
        now: Timestamp,
    ) -> Result<NewPasskey, ApiError> {
        let challenge = challenge(&credential).ok_or_else(invalid)?;
        let began: Option<Registration> = self.challenges.take(&challenge).await?;
        let is_own =
            |began: &Registration| (began.user_id, began.session_id) == (user.id, session_id);
        let began = began.filter(is_own).ok_or_else(invalid)?;
        let answer: RegisterPublicKeyCredential = parse(&credential).ok_or_else(invalid)?;
        let registered = self
            .webauthn()?
            .finish_passkey_registration(&answer, &began.registration);
        let passkey = registered.map_err(|error| {
            tracing::info!(cause = %error, "a passkey was not accepted");
            invalid()
        })?;
        Ok(NewPasskey {
            credential_id: URL_SAFE_NO_PAD.encode(passkey.cred_id()),
            stored: StoredPasskey {
                id: PasskeyId::new(now, random::bytes()),
                user_id: user.id,
                credential: to_json(&passkey)?,
                created_at: now,
            },
        })
    }

    /// Begins a sign-in, and returns the options for `navigator.credentials.get()`.
    ///
    /// # Errors
    /// `service_unavailable` or `internal_error` if the store fails.
    pub async fn begin_sign_in(&self) -> Result<Value, ApiError> {
        let began = self.webauthn()?.start_discoverable_authentication();
        let (options, authentication) = began.map_err(unexpected)?;
        let challenge = options.public_key.challenge.as_slice();
        let ceremony = &Authentication { authentication };
        self.challenges.create(challenge, ceremony).await?;
        to_value(&options.public_key)
    }

    /// Verifies the answer of `navigator.credentials.get()`. The challenge is used up, whatever the outcome.
    ///
    /// # Errors
    /// `service_unavailable` or `internal_error` if a store fails, or if the stored credential cannot be read.
    pub async fn finish_sign_in(
        &self,
        credential: PasskeyCredential,
        now: Timestamp,
    ) -> Result<Result<VerifiedPasskey, Unverified>, ApiError> {
        let answer: Option<PublicKeyCredential> = parse(&credential);
        let (Some(answer), Some(challenge)) = (answer, challenge(&credential)) else {
            return Ok(Err(Unverified::Invalid(None)));
        };
        if answer.get_credential_id().len() > MAX_CREDENTIAL_ID {
            return Ok(Err(Unverified::Invalid(None)));
        }
        let credential_id = URL_SAFE_NO_PAD.encode(answer.get_credential_id());
        let (began, stored) = tokio::join!(
            self.challenges.take::<Authentication>(&challenge),
            self.store.find(&credential_id, now),
        );
        let (began, stored) = (began?, stored?);
        let owner = stored.as_ref().map(|stored| stored.user_id);
        let (Some(began), Some(stored)) = (began, stored) else {
            return Ok(Err(Unverified::Invalid(owner)));
        };
        // The authenticator names the account as well; a credential works for its owner alone.
        let webauthn = self.webauthn()?;
        let named = webauthn.identify_discoverable_authentication(&answer);
        if !named.is_ok_and(|(named, _)| *named.as_bytes() == stored.user_id.to_bytes()) {
            return Ok(Err(Unverified::Invalid(owner)));
        }
        let mut passkey: Passkey = serde_json::from_str(&stored.credential)
            .map_err(|error| ApiError::Internal(error.into()))?;
        let state = began.authentication;
        let verified = webauthn.finish_discoverable_authentication_v2(&answer, state, &passkey);
        match verified {
            Ok(result) => {
                let is_changed = passkey.update_credential(&result) == Some(true);
                let updated = match is_changed {
                    true => Some(to_json(&passkey)?),
                    false => None,
                };
                Ok(Ok(VerifiedPasskey {
                    credential_id,
                    stored,
                    updated,
                }))
            }
            Err(WebauthnError::CredentialPossibleCompromise) => {
                Ok(Err(Unverified::Cloned(stored.user_id)))
            }
            Err(error) => {
                tracing::info!(cause = %error, "a passkey was not accepted");
                Ok(Err(Unverified::Invalid(owner)))
            }
        }
    }
}

/// Checks that the account may have one more passkey.
///
/// # Errors
/// `validation_failed`.
pub fn check_count(user: &User) -> Result<(), ApiError> {
    if user.passkeys.len() < MAX_PASSKEYS {
        return Ok(());
    }
    let message = format!("an account has at most {MAX_PASSKEYS} passkeys");
    let mut rule = rule("too_many", message);
    rule.add_param("max".into(), &MAX_PASSKEYS);
    Err(ApiError::invalid("credential", rule))
}

fn invalid() -> ApiError {
    let message = "is not the answer to options of this session, was used, or is too late";
    ApiError::invalid("credential", rule("invalid_passkey", message))
}

fn unexpected(error: WebauthnError) -> ApiError {
    ApiError::Internal(error.into())
}

fn to_json(passkey: &Passkey) -> Result<String, ApiError> {
    serde_json::to_string(passkey).map_err(|error| ApiError::Internal(error.into()))
}

fn to_value(options: &impl Serialize) -> Result<Value, ApiError> {
    serde_json::to_value(options).map_err(|error| ApiError::Internal(error.into()))
}

fn credential_id(text: &str) -> Option<CredentialID> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Reads an authenticator's answer as the library's type.
fn parse<T: DeserializeOwned>(credential: &PasskeyCredential) -> Option<T> {
    T::deserialize(credential.as_json()).ok()
}

/// Returns the challenge that an authenticator's answer says it is for. The library compares it with the stored one.
fn challenge(credential: &PasskeyCredential) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct ClientData {
        challenge: String,
    }
    let data = credential.as_json()["response"]["clientDataJSON"].as_str()?;
    let data = URL_SAFE_NO_PAD.decode(data).ok()?;
    let data: ClientData = serde_json::from_slice(&data).ok()?;
    URL_SAFE_NO_PAD.decode(data.challenge).ok()
}

/// A relying party: the domain to which passkeys are bound for ever, and the origins of the pages and apps
/// (`android:apk-key-hash:...`) that use them.
#[derive(Debug, PartialEq, Eq)]
struct RelyingParty {
    id: String,
    origins: Vec<Url>,
}

impl RelyingParty {
    /// Reads `RP_ID` and `RP_ORIGINS`, or derives them from `FRONTEND_URL`. `None` if no front end has a domain: then
    /// there are no passkeys.
    fn from_env(environment: &mut Environment) -> Option<Self> {
        let frontends = Frontends::from_env(environment);
        let form = "origins separated by commas";
        let origins = environment.optional("RP_ORIGINS", form, |text| {
            let origins = text.split(',').map(|origin| Url::parse(origin.trim()).ok());
            origins.collect::<Option<Vec<Url>>>()
        });
        let chosen = environment.optional("RP_ID", "a domain in lower case", |text| {
            let url = Url::parse(&format!("https://{text}")).ok()?;
            (url.domain() == Some(text)).then(|| text.to_owned())
        });
        let is_page = |url: &&Url| ["http", "https"].contains(&url.scheme());
        let first = frontends
            .urls()
            .iter()
            .filter(is_page)
            .find_map(Url::domain);
        let id = chosen.or_else(|| first.map(str::to_owned))?;
        let is_within = |url: &&Url| match (url.scheme(), url.domain()) {
            ("http" | "https", Some(domain)) => domain == id || domain.ends_with(&format!(".{id}")),
            (scheme, _) => !["http", "https"].contains(&scheme),
        };
        if let Some(url) = origins.iter().flatten().find(|url| !is_within(url)) {
            environment.refuse(format!(
                "RP_ORIGINS has {url}, which is no page of RP_ID {id}"
            ));
        }
        let pages = || frontends.urls().iter().filter(is_within);
        let origins = origins.unwrap_or_else(|| pages().cloned().collect());
        Some(Self { id, origins })
    }

    /// Returns the library's configuration. On `localhost` any port will do: a development server takes whichever is
    /// free.
    fn webauthn(&self, name: &str) -> Option<Webauthn> {
        let is_page = |url: &&Url| url.domain().is_some();
        let builder = WebauthnBuilder::new(&self.id, self.origins.iter().find(is_page)?).ok()?;
        let origins = self.origins.iter();
        let builder = origins.fold(builder, WebauthnBuilder::append_allowed_origin);
        let builder = builder.rp_name(name).allow_any_port(self.id == "localhost");
        builder.build().ok()
    }
}

fn webauthn(environment: &mut Environment) -> Option<Webauthn> {
    let name = environment.text("APP_NAME");
    let Some(party) = RelyingParty::from_env(environment) else {
        tracing::warn!("there are no passkeys: RP_ID is missing, and no FRONTEND_URL has a domain");
        return None;
    };
    let webauthn = party.webauthn(&name);
    if webauthn.is_none() {
        let problem = format!(
            "no page of FRONTEND_URL and RP_ORIGINS is within RP_ID {}",
            party.id
        );
        environment.refuse(problem);
    }
    webauthn
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relying_party(variables: &[(&str, &str)]) -> (Option<(String, Vec<String>)>, bool) {
        let base = [("ENVIRONMENT", "dev"), ("APP_NAME", "Gatehouse")];
        let variables = [&base[..], variables].concat();
        let mut environment = Environment::of(&variables);
        let party = RelyingParty::from_env(&mut environment);
        webauthn(&mut environment);
        let party = party.map(|party| {
            let origins = party
                .origins
                .iter()
                .map(|url| url.origin().ascii_serialization());
            (party.id.clone(), origins.collect())
        });
        (party, environment.finish(()).is_ok())
    }

    fn party(id: &str, origins: &[&str]) -> Option<(String, Vec<String>)> {
        let origins = origins.iter().map(|origin| (*origin).to_owned());
        Some((id.to_owned(), origins.collect()))
    }

    #[test]
    fn the_front_ends_are_the_relying_party_unless_it_is_given() {
        let (app, admin) = ("https://app.example.com", "https://admin.example.com");
        let both = "https://app.example.com/a, https://admin.example.com";
        for (variables, expected) in [
            (
                vec![("FRONTEND_URL", both)],
                party("app.example.com", &[app]),
            ),
            (
                vec![("FRONTEND_URL", both), ("RP_ID", "example.com")],
                party("example.com", &[app, admin]),
            ),
            (
                vec![
                    ("FRONTEND_URL", both),
                    ("RP_ID", "example.com"),
                    ("RP_ORIGINS", admin),
                ],
                party("example.com", &[admin]),
            ),
            (vec![("FRONTEND_URL", "myapp://open")], None),
            (vec![("FRONTEND_URL", "http://192.0.2.1:3000")], None),
        ] {
            assert_eq!(relying_party(&variables), (expected, true), "{variables:?}");
        }
    }

    #[test]
    fn a_relying_party_that_no_page_has_is_refused() {
        let page = ("FRONTEND_URL", "https://app.example.com");
        for variables in [
            [page, ("RP_ID", "example.org")],
            [page, ("RP_ID", "pp.example.com")],
            [page, ("RP_ORIGINS", "https://example.org")],
            [page, ("RP_ORIGINS", "https://evilapp.example.com")],
            [page, ("RP_ORIGINS", "https://app.example.com,no origin")],
        ] {
            assert!(!relying_party(&variables).1, "{variables:?}");
        }
    }
}
