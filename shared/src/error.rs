//! The errors that a client can get: a closed list of codes, each with one status and one message. The cause of a 5xx
//! is logged and never sent.

use std::borrow::Cow;

use http::StatusCode;
use validator::{ValidationError, ValidationErrors};

use crate::api::Detail;
use crate::domain::password_hash::UnknownHash;
use crate::domain::rate_limit::{Policy, Quota};
use crate::store::{
    self,
    dynamodb::{Collision, TransactionError},
};

/// The error of a failed request.
#[derive(Debug)]
pub enum ApiError {
    /// Some fields are invalid; contains every broken rule.
    ValidationFailed(Vec<Detail>),
    /// The body is not one JSON object without repeated keys.
    MalformedJson,
    /// The reset token is not valid (any more).
    InvalidResetToken,
    /// The verification token is not valid (any more).
    InvalidVerificationToken,
    /// A protected endpoint was called without an access token.
    MissingToken,
    /// The access token was not issued here.
    InvalidToken,
    /// The access token has expired.
    TokenExpired,
    /// The session of the access token has ended.
    TokenRevoked,
    /// A service asks without its id and secret (RFC 6749, 5.2).
    InvalidClient,
    /// A form lacks its token, has several, or is none (RFC 6749, 5.2).
    InvalidRequest,
    /// Wrong password, unknown account or deleted account; the answer does not reveal which.
    InvalidCredentials,
    /// The mailed code is wrong, was used or has expired, or was mailed for another request.
    CodeInvalid,
    /// The passkey is unknown or was removed, its challenge was used or has expired, or its signature is wrong.
    PasskeyInvalid,
    /// The sign-in with another provider was used, has expired, or was begun by another client.
    OauthGrantInvalid,
    /// No account has the provider's identity, and the provider has not verified its address.
    OauthEmailUnverified,
    /// Another account has the provider's identity.
    IdentityTaken,
    /// The account has another identity of the provider.
    ProviderAlreadyLinked,
    /// Nothing else would be left to sign in with.
    LastSignInMethod,
    /// The refresh token was not issued here, or its session has ended.
    RefreshTokenInvalid,
    /// The refresh token has expired.
    RefreshTokenExpired,
    /// The refresh token had been replaced: somebody else may have it, so its session was ended.
    RefreshTokenReused,
    /// The password is right, but the address must be proven first.
    EmailNotVerified,
    /// The password is right, but an operator has disabled the account.
    AccountDisabled,
    /// The caller's role does not allow the request, or the request bypasses CloudFront.
    Forbidden,
    /// The password or the session is valid, but a second factor is required as well.
    TwoFactorRequired,
    /// The code is wrong.
    TwoFactorInvalid,
    /// The code is right, but was used before; the next one works.
    TwoFactorUsed,
    /// [`Self::TwoFactorInvalid`] for a caller who is signed in and stays signed in.
    SignedInTwoFactorInvalid,
    /// [`Self::TwoFactorUsed`] for a caller who is signed in and stays signed in.
    SignedInTwoFactorUsed,
    /// [`Self::InvalidCredentials`] for a caller who is signed in and stays signed in.
    SignedInInvalidCredentials,
    /// Two-factor authentication is not on.
    TwoFactorNotEnabled,
    /// The device is confirmed already.
    TwoFactorAlreadyEnabled,
    /// The user agent is on the list of known bots.
    BotDetected,
    /// A cookie was sent without the CSRF token, which only pages of allowed origins can read.
    CsrfFailed,
    /// A cookie was sent from a page whose origin is not on the list.
    OriginNotAllowed,
    /// The action requires a recent sign-in, or the password.
    ReauthenticationRequired,
    /// A mailed token was sent without proof that the sender registered the account.
    ConfirmationRequired,
    /// Too many wrong passwords in a row: the old password is no longer accepted.
    PasswordResetRequired,
    /// The thing does not exist, or is not the caller's.
    NotFound,
    /// The path does not exist; contains a similar path, if there is one.
    UnknownPath(Option<&'static str>),
    /// The path exists for these methods only.
    MethodNotAllowed(&'static str),
    /// Another account has the address.
    EmailTaken,
    /// Another account has the username.
    UsernameTaken,
    /// The body exceeds 16 KiB.
    PayloadTooLarge,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// Too many requests under a rate limit.
    RateLimited(Box<Quota>),
    /// Too many wrong passwords or codes: locked for a while.
    AccountLocked(Box<Quota>),
    /// A bug, or stored data that this code did not write.
    Internal(Cause),
    /// DynamoDB or Redis does not answer.
    ServiceUnavailable(Cause),
}

/// The cause of a 5xx.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

impl ApiError {
    /// Creates the error of one field that breaks a rule.
    pub fn invalid(field: &str, rule: ValidationError) -> Self {
        Self::ValidationFailed(vec![Detail::new(field, rule)])
    }

    /// Returns whether the client has proven who it is, and only something else is missing: then the request is no failed
    /// guess.
    pub fn holds_proof(&self) -> bool {
        matches!(
            self,
            Self::TwoFactorRequired
                | Self::TwoFactorUsed
                | Self::EmailNotVerified
                | Self::AccountDisabled
                | Self::PasswordResetRequired
                | Self::OauthEmailUnverified
                | Self::ProviderAlreadyLinked
                | Self::IdentityTaken
        )
    }

    /// Converts the error for a caller who is signed in: the password or the code is wrong, not the authentication (RFC
    /// 9110, 15.5.4), so clients must not refresh their tokens because of it.
    pub fn for_signed_in(self) -> Self {
        match self {
            Self::InvalidCredentials => Self::SignedInInvalidCredentials,
            Self::TwoFactorInvalid => Self::SignedInTwoFactorInvalid,
            Self::TwoFactorUsed => Self::SignedInTwoFactorUsed,
            error => error,
        }
    }

    /// Returns the status, the code and the message.
    fn parts(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::ValidationFailed(_) => (
                StatusCode::BAD_REQUEST,
                "validation_failed",
                "Some fields are not valid; details says which, and why.",
            ),
            Self::MalformedJson => (
                StatusCode::BAD_REQUEST,
                "malformed_json",
                "The body must be one JSON object without repeated keys.",
            ),
            Self::InvalidResetToken => (
                StatusCode::BAD_REQUEST,
                "invalid_reset_token",
                "The link or the code is not valid any more. Ask for a new one.",
            ),
            Self::InvalidVerificationToken => (
                StatusCode::BAD_REQUEST,
                "invalid_verification_token",
                "The link or the code is not valid any more. Ask for a new one.",
            ),
            Self::EmailNotVerified => (
                StatusCode::FORBIDDEN,
                "email_not_verified",
                "The email address must be verified first: open the mailed link, or ask for a new one.",
            ),
            Self::MissingToken => (
                StatusCode::UNAUTHORIZED,
                "missing_token",
                "An access token is required.",
            ),
            Self::InvalidToken => (
                StatusCode::UNAUTHORIZED,
                "invalid_token",
                "The access token is not valid.",
            ),
            Self::TokenExpired => (
                StatusCode::UNAUTHORIZED,
                "token_expired",
                "The access token has expired.",
            ),
            Self::TokenRevoked => (
                StatusCode::UNAUTHORIZED,
                "token_revoked",
                "The session is over.",
            ),
            Self::InvalidClient => (
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                "Send the service's id and secret as Authorization: Basic.",
            ),
            Self::InvalidRequest => (
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "Send a form (application/x-www-form-urlencoded) with one token.",
            ),
            Self::InvalidCredentials => (
                StatusCode::UNAUTHORIZED,
                "invalid_credentials",
                "The credentials are not valid.",
            ),
            Self::CodeInvalid => (
                StatusCode::UNAUTHORIZED,
                "code_invalid",
                "The code is not valid here. Type it where you asked for it, or ask for a new one.",
            ),
            Self::PasskeyInvalid => (
                StatusCode::UNAUTHORIZED,
                "passkey_invalid",
                "The passkey is not accepted. Ask for new options, or sign in another way.",
            ),
            Self::OauthGrantInvalid => (
                StatusCode::UNAUTHORIZED,
                "oauth_grant_invalid",
                "The sign-in with the provider is not valid here any more. Begin again in this browser.",
            ),
            Self::OauthEmailUnverified => (
                StatusCode::FORBIDDEN,
                "oauth_email_unverified",
                "The provider has not verified an address. Sign in another way, then link the provider.",
            ),
            Self::IdentityTaken => (
                StatusCode::CONFLICT,
                "identity_taken",
                "Another account signs in with this identity.",
            ),
            Self::ProviderAlreadyLinked => (
                StatusCode::CONFLICT,
                "provider_already_linked",
                "The account has another identity of this provider. Unlink that one first.",
            ),
            Self::LastSignInMethod => (
                StatusCode::CONFLICT,
                "last_sign_in_method",
                "Nothing else would be left to sign in with. Set a password or add a passkey first.",
            ),
            Self::RefreshTokenInvalid => (
                StatusCode::UNAUTHORIZED,
                "refresh_token_invalid",
                "The refresh token is not valid.",
            ),
            Self::RefreshTokenExpired => (
                StatusCode::UNAUTHORIZED,
                "refresh_token_expired",
                "The refresh token has expired.",
            ),
            Self::RefreshTokenReused => (
                StatusCode::UNAUTHORIZED,
                "refresh_token_reused",
                "The refresh token was used before, so the session has been ended.",
            ),
            Self::AccountDisabled => (
                StatusCode::FORBIDDEN,
                "account_disabled",
                "The account is disabled. An operator can enable it again.",
            ),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "This is not allowed: not with this role, or not at this address of the API.",
            ),
            Self::TwoFactorRequired => (
                StatusCode::FORBIDDEN,
                "two_factor_required",
                "Send the code of the second factor as twoFactorToken, or as token beneath /api/auth/2fa/.",
            ),
            Self::TwoFactorInvalid => (
                StatusCode::UNAUTHORIZED,
                "two_factor_invalid",
                "The code is not valid.",
            ),
            Self::TwoFactorUsed => (
                StatusCode::UNAUTHORIZED,
                "two_factor_invalid",
                "The code was used already. Wait for the next one.",
            ),
            Self::SignedInTwoFactorInvalid => (
                StatusCode::FORBIDDEN,
                "two_factor_invalid",
                "The code is not valid. Send the one that the app shows now, or a backup code.",
            ),
            Self::SignedInTwoFactorUsed => (
                StatusCode::FORBIDDEN,
                "two_factor_invalid",
                "The code was used already. Wait for the next one.",
            ),
            Self::SignedInInvalidCredentials => (
                StatusCode::FORBIDDEN,
                "invalid_credentials",
                "The password is not the current one.",
            ),
            Self::TwoFactorNotEnabled => (
                StatusCode::BAD_REQUEST,
                "two_factor_not_enabled",
                "There is no second factor to use. Set it up first with POST /api/auth/2fa/setup.",
            ),
            Self::TwoFactorAlreadyEnabled => (
                StatusCode::CONFLICT,
                "two_factor_already_enabled",
                "The device is active already.",
            ),
            Self::BotDetected => (
                StatusCode::FORBIDDEN,
                "bot_detected",
                "Automated clients are not served here. Your own should send its name as User-Agent.",
            ),
            Self::CsrfFailed => (
                StatusCode::FORBIDDEN,
                "csrf_failed",
                "Send the csrfToken of the sign-in as X-CSRF-Token; this one does not match the session.",
            ),
            Self::OriginNotAllowed => (
                StatusCode::FORBIDDEN,
                "origin_not_allowed",
                "The page's Origin is not in CORS_ALLOWED_ORIGINS, or the request has none.",
            ),
            Self::ReauthenticationRequired => (
                StatusCode::FORBIDDEN,
                "reauthentication_required",
                "Sign in again, or send the password as well.",
            ),
            Self::ConfirmationRequired => (
                StatusCode::FORBIDDEN,
                "confirmation_required",
                "Send the password of the account too, or open the link where the account was registered.",
            ),
            Self::PasswordResetRequired => (
                StatusCode::FORBIDDEN,
                "password_reset_required",
                "A new password must be set first, by the mailed link.",
            ),
            Self::MethodNotAllowed(_) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This path takes other methods.",
            ),
            Self::RateLimited(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                "Too many requests.",
            ),
            Self::AccountLocked(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "account_locked",
                "Too many failed attempts. The account is locked for a while.",
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "Not found."),
            Self::UnknownPath(_) => (StatusCode::NOT_FOUND, "not_found", "There is no such path."),
            Self::EmailTaken => (
                StatusCode::CONFLICT,
                "email_taken",
                "The email address is already in use.",
            ),
            Self::UsernameTaken => (
                StatusCode::CONFLICT,
                "username_taken",
                "The username is already in use.",
            ),
            Self::PayloadTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                "The body must be at most 16 KiB.",
            ),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "The Content-Type must be application/json.",
            ),
            Self::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_error",
                "Something went wrong on our side.",
            ),
            Self::ServiceUnavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "service_unavailable",
                "The service is temporarily unavailable.",
            ),
        }
    }

    /// Returns the HTTP status.
    pub fn status(&self) -> StatusCode {
        self.parts().0
    }

    /// Returns the code for programs.
    pub fn code(&self) -> &'static str {
        self.parts().1
    }

    /// Returns the message for people.
    pub fn message(&self) -> Cow<'static, str> {
        let message = self.parts().2;
        match self {
            Self::RateLimited(quota) => {
                let Policy { name, limit } = &quota.policy;
                format!("Too many requests: the limit \"{name}\" allows {limit}.").into()
            }
            Self::UnknownPath(Some(meant)) => format!("{message} Is {meant} meant?").into(),
            Self::MethodNotAllowed(methods) => format!("This path takes {methods}.").into(),
            _ => message.into(),
        }
    }

    /// Returns the path of the code's explanation, relative to the API's address (RFC 9457, 3.1.1, allows such a
    /// reference).
    pub fn docs(&self) -> String {
        format!("/errors/{}", self.code())
    }

    /// Returns the allowed methods of a 405 (RFC 9110, 15.5.6).
    pub fn allowed_methods(&self) -> Option<&'static str> {
        match self {
            Self::MethodNotAllowed(methods) => Some(methods),
            _ => None,
        }
    }

    /// Returns the cause, for the log.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Internal(cause) | Self::ServiceUnavailable(cause) => Some(cause),
            _ => None,
        }
    }

    /// Returns the seconds after which the client may try again.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::ServiceUnavailable(_) => Some(5),
            _ => self.quota().map(Quota::reset_seconds),
        }
    }

    /// Returns the exceeded limit.
    pub fn quota(&self) -> Option<&Quota> {
        match self {
            Self::RateLimited(quota) | Self::AccountLocked(quota) => Some(quota),
            _ => None,
        }
    }

    /// Returns the name of the variable that sets the exceeded limit, for the log.
    pub fn limit_variable(&self) -> Option<String> {
        let name = &self.quota()?.policy.name;
        let name = name.to_ascii_uppercase().replace('-', "_");
        match self {
            Self::RateLimited(_) => Some(format!("RATE_LIMIT_{name}")),
            _ => Some(name),
        }
    }

    /// Returns the challenge of a 401 (RFC 9110, 11.6.1; RFC 6750, 3: with `error` if a token was sent).
    pub fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::MissingToken
            | Self::InvalidCredentials
            | Self::TwoFactorInvalid
            | Self::TwoFactorUsed => Some("Bearer"),
            Self::InvalidClient => Some(r#"Basic realm="gatehouse", charset="UTF-8""#),
            _ if self.status() == StatusCode::UNAUTHORIZED => {
                Some(r#"Bearer error="invalid_token""#)
            }
            _ => None,
        }
    }
}

impl From<ValidationErrors> for ApiError {
    fn from(errors: ValidationErrors) -> Self {
        Self::ValidationFailed(Detail::all_of(errors))
    }
}

impl From<UnknownHash> for ApiError {
    fn from(_: UnknownHash) -> Self {
        Self::Internal("a stored password hash is of no known kind".into())
    }
}

impl From<store::Error> for ApiError {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Unavailable(_) | store::Error::Conflict => {
                Self::ServiceUnavailable(Box::new(error))
            }
            store::Error::Unexpected(_) => Self::Internal(Box::new(error)),
        }
    }
}

impl From<Collision> for ApiError {
    fn from(_: Collision) -> Self {
        Self::Internal("a random identifier occurred twice".into())
    }
}

impl<C: Into<ApiError>> From<TransactionError<C>> for ApiError {
    fn from(error: TransactionError<C>) -> Self {
        match error {
            TransactionError::Refused(meaning) => meaning.into(),
            TransactionError::Store(error) => error.into(),
        }
    }
}
