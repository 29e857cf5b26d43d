use std::sync::Arc;
use std::time::Duration;

use shared::StartError;
use shared::auth::email_tokens::EmailTokens;
use shared::auth::lockout::LoginLockout;
use shared::auth::token_issuer::TokenIssuer;
use shared::auth::tokens::{refresh_expiry, remember_me_expiry, session_max_age};
use shared::auth::two_factor::TwoFactor;
use shared::config::Environment;
use shared::domain::device_token::{DeviceTokenIssuer, DeviceTokenVerifier};
use shared::domain::leaked_passwords::LeakedPasswords;
use shared::domain::password_hash::PasswordHasher;
use shared::serve::{Endpoint, PublicGuard};
use shared::store::audit::Audit;
use shared::store::credentials::Credentials;
use shared::store::dynamodb::DynamoDb;
use shared::store::outbox::Outbox;
use shared::store::reset_tokens::ResetTokens;
use shared::store::sessions::Sessions;
use shared::store::users::Users;

const LIMIT: Endpoint = Endpoint::per_client("LOGIN", "5/15m").of_failures();

/// The endpoint's dependencies.
pub struct App {
    pub guard: PublicGuard,
    pub dynamodb: DynamoDb,
    pub users: Users,
    pub credentials: Credentials,
    pub audit: Audit,
    pub outbox: Outbox,
    pub sessions: Sessions,
    pub reset_tokens: ResetTokens,
    pub refresh_expiry: Duration,
    pub remember_me_expiry: Duration,
    pub session_max_age: Duration,
    pub verification_is_required: bool,
    pub tokens: TokenIssuer,
    pub device_token_issuer: DeviceTokenIssuer,
    pub device_tokens: DeviceTokenVerifier,
    pub lockout: LoginLockout,
    pub two_factor: TwoFactor,
    pub email_tokens: EmailTokens,
    pub hasher: PasswordHasher,
    pub leaked_passwords: Option<Arc<LeakedPasswords>>,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: PublicGuard::public(&mut environment, LIMIT),
            dynamodb: DynamoDb::from_env(&mut environment),
            users: Users::from_env(&mut environment),
            credentials: Credentials::from_env(&mut environment),
            audit: Audit::from_env(&mut environment),
            outbox: Outbox::from_env(&mut environment),
            sessions: Sessions::from_env(&mut environment),
            reset_tokens: ResetTokens::from_env(&mut environment),
            refresh_expiry: refresh_expiry(&mut environment),
            remember_me_expiry: remember_me_expiry(&mut environment),
            session_max_age: session_max_age(&mut environment),
            verification_is_required: environment.boolean("REQUIRE_VERIFIED_EMAIL", false),
            tokens: TokenIssuer::from_env(&mut environment),
            device_token_issuer: DeviceTokenIssuer::from_env(&mut environment),
            device_tokens: DeviceTokenVerifier::from_env(&mut environment),
            lockout: LoginLockout::from_env(&mut environment),
            two_factor: TwoFactor::from_env(&mut environment),
            email_tokens: EmailTokens::from_env(&mut environment),
            hasher: PasswordHasher::from_env(&mut environment),
            leaked_passwords: LeakedPasswords::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
