//! What a client can be told went wrong: the closed list of codes, each with its one
//! status and its one message. The cause of a 5xx is for the log and is never sent.

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

/// The result of a request that failed.
#[derive(Debug)]
pub enum ApiError {
    /// Fields that break rules, all of them.
    ValidationFailed(Vec<Detail>),
    /// The body is not one JSON object without repeated keys.
    MalformedJson,
    /// A reset token that is not valid (any more).
    InvalidResetToken,
    /// A verification token that is not valid (any more).
    InvalidVerificationToken,
    /// A protected endpoint, and no access token.
    MissingToken,
    /// Not an access token of ours.
    InvalidToken,
    /// An access token whose time is over.
    TokenExpired,
    /// An access token whose session is over.
    TokenRevoked,
    /// Wrong password, unknown account, deleted account: nobody can tell which.
    InvalidCredentials,
    /// Not a refresh token of ours, or one whose session is over.
    RefreshTokenInvalid,
    /// A refresh token whose time is over.
    RefreshTokenExpired,
    /// A refresh token that had been replaced: somebody else may have it, so its session is over.
    RefreshTokenReused,
    /// The right password of an account whose address is not proven, where that is required.
    EmailNotVerified,
    /// The right password of an account that an operator has disabled.
    AccountDisabled,
    /// Not allowed: with the role that the caller has, or past CloudFront.
    Forbidden,
    /// The right password, or a session, where a second factor is needed too.
    TwoFactorRequired,
    /// A wrong code.
    TwoFactorInvalid,
    /// A right code that was used: the next one works.
    TwoFactorUsed,
    /// The same two of somebody who is signed in, and stays so.
    SignedInTwoFactorInvalid,
    /// See [`Self::SignedInTwoFactorInvalid`].
    SignedInTwoFactorUsed,
    /// A wrong password of somebody who is signed in, and stays so.
    SignedInInvalidCredentials,
    /// There is no second factor to use.
    TwoFactorNotEnabled,
    /// The device is active already.
    TwoFactorAlreadyEnabled,
    /// Neither a person nor an app, by what it calls itself.
    BotDetected,
    /// A cookie without the token that only a page of ours can read.
    CsrfFailed,
    /// A cookie from a page whose origin is not on the list.
    OriginNotAllowed,
    /// What the caller wants to do takes a recent sign-in, or the password.
    ReauthenticationRequired,
    /// A mailed token, and nothing that shows that its bearer registered the account.
    ConfirmationRequired,
    /// Too many wrong passwords in a row: the old one is not taken any more.
    PasswordResetRequired,
    /// No such thing, or not the caller's.
    NotFound,
    /// No such path; perhaps one that is written much alike.
    UnknownPath(Option<&'static str>),
    /// The path is there, for these methods.
    MethodNotAllowed(&'static str),
    /// Another account has the address.
    EmailTaken,
    /// Another account has the username.
    UsernameTaken,
    /// A body of more than 16 KiB.
    PayloadTooLarge,
    /// A body that is not declared as JSON.
    UnsupportedMediaType,
    /// Too many requests under a limit.
    RateLimited(Box<Quota>),
    /// Too many wrong passwords for the account.
    AccountLocked(Box<Quota>),
    /// A bug, or data that no code of ours has written.
    Internal(Cause),
    /// DynamoDB or Redis does not answer.
    ServiceUnavailable(Cause),
}

/// What is behind a 5xx.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

impl ApiError {
    /// A rule that one field breaks.
    pub fn invalid(field: &str, rule: ValidationError) -> Self {
        Self::ValidationFailed(vec![Detail::new(field, rule)])
    }

    /// The same for somebody who is signed in: what is wrong is the password or the code, not the
    /// authentication (RFC 9110, 15.5.4), and no client is to renew its tokens over it.
    pub fn of_signed_in(self) -> Self {
        match self {
            Self::InvalidCredentials => Self::SignedInInvalidCredentials,
            Self::TwoFactorInvalid => Self::SignedInTwoFactorInvalid,
            Self::TwoFactorUsed => Self::SignedInTwoFactorUsed,
            error => error,
        }
    }

    /// Status, code and message.
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
                "The link is not valid any more. Ask for a new one.",
            ),
            Self::InvalidVerificationToken => (
                StatusCode::BAD_REQUEST,
                "invalid_verification_token",
                "The link is not valid any more. Ask for a new one.",
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
            Self::InvalidCredentials => (
                StatusCode::UNAUTHORIZED,
                "invalid_credentials",
                "The credentials are not valid.",
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

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.parts().0
    }

    /// The code that a client acts on.
    pub fn code(&self) -> &'static str {
        self.parts().1
    }

    /// The sentence for people.
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

    /// Where the code is explained, beneath the API's own address (RFC 9457, 3.1.1, allows such a reference).
    pub fn docs(&self) -> String {
        format!("/errors/{}", self.code())
    }

    /// The methods of a 405 (RFC 9110, 15.5.6).
    pub fn allowed_methods(&self) -> Option<&'static str> {
        match self {
            Self::MethodNotAllowed(methods) => Some(methods),
            _ => None,
        }
    }

    /// What the log gets to know.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Internal(cause) | Self::ServiceUnavailable(cause) => Some(cause),
            _ => None,
        }
    }

    /// When to try again.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::ServiceUnavailable(_) => Some(5),
            _ => self.quota().map(Quota::reset_seconds),
        }
    }

    /// The limit that was hit.
    pub fn quota(&self) -> Option<&Quota> {
        match self {
            Self::RateLimited(quota) | Self::AccountLocked(quota) => Some(quota),
            _ => None,
        }
    }

    /// The variable that sets that limit, for the log.
    pub fn limit_variable(&self) -> Option<String> {
        let name = &self.quota()?.policy.name;
        let name = name.to_ascii_uppercase().replace('-', "_");
        match self {
            Self::RateLimited(_) => Some(format!("RATE_LIMIT_{name}")),
            _ => Some(name),
        }
    }

    /// The challenge of a 401 (RFC 9110, 11.6.1; RFC 6750, 3: `error` where a token was given).
    pub fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::MissingToken
            | Self::InvalidCredentials
            | Self::TwoFactorInvalid
            | Self::TwoFactorUsed => Some("Bearer"),
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
            store::Error::Unavailable(_) => Self::ServiceUnavailable(Box::new(error)),
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
