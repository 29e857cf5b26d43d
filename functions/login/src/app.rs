use std::sync::Arc;

use shared::StartError;
use shared::auth::failures::Failures;
use shared::auth::lockout::LoginLockout;
use shared::auth::sign_in::SignIn;
use shared::auth::two_factor::TwoFactor;
use shared::config::Environment;
use shared::domain::device_token::DeviceTokenVerifier;
use shared::domain::leaked_passwords::LeakedPasswords;
use shared::domain::password_hash::PasswordHasher;
use shared::serve::{Endpoint, PublicGuard};
use shared::store::audit::Audit;
use shared::store::credentials::Credentials;
use shared::store::users::Users;

const LIMIT: Endpoint = Endpoint::per_client("LOGIN", "5/15m").of_failures();

/// The endpoint's dependencies.
pub struct App {
    pub guard: PublicGuard,
    pub users: Users,
    pub credentials: Credentials,
    pub audit: Audit,
    pub sign_in: SignIn,
    pub device_tokens: DeviceTokenVerifier,
    pub lockout: LoginLockout,
    pub two_factor: TwoFactor,
    pub failures: Failures,
    pub hasher: PasswordHasher,
    pub leaked_passwords: Option<Arc<LeakedPasswords>>,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: PublicGuard::public(&mut environment, LIMIT),
            users: Users::from_env(&mut environment),
            credentials: Credentials::from_env(&mut environment),
            audit: Audit::from_env(&mut environment),
            sign_in: SignIn::from_env(&mut environment),
            device_tokens: DeviceTokenVerifier::from_env(&mut environment),
            lockout: LoginLockout::from_env(&mut environment),
            two_factor: TwoFactor::from_env(&mut environment),
            failures: Failures::from_env(&mut environment),
            hasher: PasswordHasher::from_env(&mut environment),
            leaked_passwords: LeakedPasswords::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
