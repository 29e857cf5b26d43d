//! Why a sign-in with a provider failed.

/// A failure, as the front end learns of it in the fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The user or the provider refused.
    AccessDenied,
    /// The state is unknown, was used, or has expired.
    InvalidState,
    /// The provider's answer is not valid, for this reason.
    Provider(&'static str),
    /// The provider does not answer, or not in time.
    Unavailable(&'static str),
    /// The store does not answer.
    Store,
}

impl Failure {
    /// Returns the meaning of an error that a provider has sent with the browser (RFC 6749, 4.1.2.1).
    pub fn of_provider(error: &str) -> Self {
        match error {
            // The last ones are Apple's and LinkedIn's.
            "access_denied" | "user_cancelled_authorize" | "user_cancelled_login" => {
                Self::AccessDenied
            }
            "server_error" | "temporarily_unavailable" => {
                Self::Unavailable("the provider has sent the browser with an error of its own")
            }
            _ => Self::Provider("the provider has sent the browser with an error"),
        }
    }

    /// Returns the code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AccessDenied => "access_denied",
            Self::InvalidState => "invalid_state",
            Self::Provider(_) => "provider_failed",
            Self::Unavailable(_) => "provider_unavailable",
            Self::Store => "service_unavailable",
        }
    }

    /// Returns what happened, without anything that the provider or the browser sent.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Provider(cause) | Self::Unavailable(cause) => cause,
            _ => self.code(),
        }
    }
}

impl From<shared::store::Error> for Failure {
    fn from(error: shared::store::Error) -> Self {
        tracing::error!(cause = %error, "failed");
        Self::Store
    }
}
