//! Issues the tokens of a session.

use super::representation::TokensBody;
use crate::domain::session::Session;
use crate::domain::timestamp::Timestamp;
use crate::domain::token::{AccessTokenIssuer, RefreshTokenIssuer};
use crate::domain::user::Role;
use crate::{random, telemetry};

/// Issues both kinds.
pub struct TokenIssuer {
    /// The short-lived ones.
    pub access: AccessTokenIssuer,
    /// The ones that are exchanged.
    pub refresh: RefreshTokenIssuer,
}

impl TokenIssuer {
    /// The tokens for the session as it is now; the role is the user's at this moment.
    pub fn issue(&self, session: &Session, role: Role, now: Timestamp) -> TokensBody {
        let (access_token, expires_in) = self.access.issue(session, role, now, random::bytes());
        let (refresh_token, refresh_expires_in) = self.refresh.issue(session, now);
        telemetry::count("TokensIssued", &[]);
        TokensBody {
            access_token,
            refresh_token,
            token_type: "Bearer",
            expires_in: expires_in.as_secs(),
            refresh_expires_in: refresh_expires_in.as_secs(),
        }
    }
}
