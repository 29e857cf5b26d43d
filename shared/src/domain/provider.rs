//! Providers of identities: services where a user signs in instead of here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::ValidationError;

use super::email_address::EmailAddress;
use super::person_name::PersonName;
use super::rule::{Parse, rule};
use super::timestamp::Timestamp;

const MAX_NAME: usize = 32;
/// The maximum length of a subject, in bytes (OpenID Connect Core 1.0, 2).
const MAX_SUBJECT: usize = 255;

/// The name of a provider in requests and in the configuration: a letter, then letters, digits and underscores.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct ProviderName(#[schemars(regex(pattern = "^[a-z][a-z0-9_]{0,31}$"))] String);

impl Parse for ProviderName {
    fn parse(text: &str) -> Result<Self, ValidationError> {
        let is_letter = |byte: u8| byte.is_ascii_lowercase();
        let is_part = |byte: u8| is_letter(byte) || byte.is_ascii_digit() || byte == b'_';
        let is_valid = text.len() <= MAX_NAME
            && text.bytes().next().is_some_and(is_letter)
            && text.bytes().all(is_part);
        match is_valid {
            true => Ok(Self(text.to_owned())),
            false => {
                let message = "must be a lower-case letter, then letters, digits and underscores";
                Err(rule("invalid_provider", message))
            }
        }
    }
}

impl ProviderName {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What names an identity for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityId {
    /// The issuer.
    pub issuer: String,
    /// The identifier of the user at the issuer.
    pub subject: String,
}

/// A user as a provider knows them: the issuer and the subject name them for ever, while the address may change (OpenID
/// Connect Core 1.0, 5.7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalIdentity {
    /// The provider, by its name in the configuration.
    pub provider: ProviderName,
    /// The issuer of the identity.
    pub issuer: String,
    /// The identifier of the user at the issuer.
    pub subject: String,
    /// The address at the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<EmailAddress>,
    /// Whether the provider has verified the address.
    pub email_verified: bool,
    /// The name at the provider, if it is one that is valid here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<PersonName>,
}

/// The tokens that a provider has issued for its own API (RFC 6749, 5.1).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderTokens {
    /// The access token.
    pub access_token: String,
    /// The refresh token, if the provider has issued one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// When the access token expires, if the provider has said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The scope of the access token, if the provider has named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

impl ExternalIdentity {
    /// Returns what names the identity for ever.
    pub fn id(&self) -> IdentityId {
        IdentityId {
            issuer: self.issuer.clone(),
            subject: self.subject.clone(),
        }
    }

    /// Returns the address, if the provider has verified it.
    pub fn proven_email(&self) -> Option<&EmailAddress> {
        self.email.as_ref().filter(|_| self.email_verified)
    }

    /// Returns whether a subject can be a key.
    pub fn is_valid_subject(subject: &str) -> bool {
        (1..=MAX_SUBJECT).contains(&subject.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_example() {
        for good in ["google", "acme_2", "a", &"a".repeat(32)] {
            assert_eq!(ProviderName::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "Google",
            "2fa",
            "_a",
            "a-b",
            "a.b",
            "a#b",
            &"a".repeat(33),
        ] {
            assert!(ProviderName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_verified_address_is_proven() {
        let identity = |email_verified| ExternalIdentity {
            provider: ProviderName::parse("google").unwrap(),
            issuer: "https://accounts.google.com".into(),
            subject: "1".into(),
            email: EmailAddress::parse("ada@example.com").ok(),
            email_verified,
            name: None,
        };
        assert!(identity(true).proven_email().is_some());
        assert_eq!(identity(false).proven_email(), None);
    }

    #[test]
    fn subjects_are_neither_empty_nor_endless() {
        for (subject, is_valid) in [("1", true), ("", false), (&"a".repeat(256), false)] {
            assert_eq!(ExternalIdentity::is_valid_subject(subject), is_valid);
        }
    }
}
