//! Why a sign-in with a provider failed.

/// A failure, as the front end learns of it in the fragment.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The user or the provider refused.
    AccessDenied,
    /// The state is unknown, was used, or has expired.
    InvalidState,
    /// The provider's answer is not valid; what is wrong with it.
    Provider(&'static str),
    /// The provider does not answer, or not in time.
    Unavailable(&'static str),
    /// The store does not answer.
    Store,
}

impl Failure {
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
