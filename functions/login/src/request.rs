use shared::api::Field;
use shared::api::login::LoginRequest;
use shared::domain::code::Code;
use shared::domain::email_address::EmailAddress;
use shared::domain::password::Password;
use shared::domain::rule::Parse;
use shared::domain::username::Username;
use shared::error::ApiError;
use shared::http::Request;
use shared::http::cookie_mode::TokenDelivery;
use shared::store::rate_limiter::{TextHash, TextHasher};

/// A valid request.
pub struct Login {
    pub identifier: Identifier,
    pub password: Password,
    pub code: Option<Code>,
    pub remember_me: bool,
    pub delivery: TokenDelivery,
}

impl Login {
    pub fn read(request: &Request) -> Result<Self, ApiError> {
        let delivery = TokenDelivery::requested_by(request)?;
        let body = request.json_with(LoginRequest::check_identifier)?;
        Ok(Self {
            identifier: Identifier::of(body.email, body.username, body.identifier),
            password: body.password.into_inner(),
            code: body.two_factor_token.map(Field::into_inner),
            remember_me: body.remember_me.is_some_and(Field::into_inner),
            delivery,
        })
    }
}

/// An account's identifier, as typed.
pub enum Identifier {
    Email(EmailAddress),
    Username(Username),
    /// A text that no account can have as its identifier; the request takes the time of a possible one.
    Impossible(String),
}

impl Identifier {
    /// Returns the one of the three fields that is given.
    fn of(
        email: Option<Field<EmailAddress>>,
        username: Option<Field<String>>,
        identifier: Option<Field<String>>,
    ) -> Self {
        let email = email.map(|email| Self::Email(email.into_inner()));
        let username = username.map(|text| Self::username(text.into_inner().trim()));
        let either = || Self::either(&identifier.map(Field::into_inner).unwrap_or_default());
        email.or(username).unwrap_or_else(either)
    }

    fn either(text: &str) -> Self {
        EmailAddress::parse(text).map_or_else(|_| Self::username(text.trim()), Self::Email)
    }

    fn username(text: &str) -> Self {
        let impossible = |_| Self::Impossible(text.to_owned());
        Username::parse(text).map_or_else(impossible, Self::Username)
    }

    /// Hashes the identifier; every spelling of it has the same hash.
    pub fn hash(&self, hasher: &TextHasher) -> TextHash {
        match self {
            Self::Email(email) => hasher.email(email),
            Self::Username(username) => hasher.username(username),
            Self::Impossible(text) => hasher.impossible(text),
        }
    }
}
