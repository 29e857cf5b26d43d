use shared::StartError;
use shared::api::change_password::ChangePasswordRequest;
use shared::config::Environment;
use shared::domain::password::{Owner, Policy};
use shared::domain::password_hash::PasswordHash;
use shared::domain::user::User;
use shared::error::ApiError;
use shared::http::authentication::Authenticator;
use shared::http::guard::{Endpoint, Guard};
use shared::http::password_check::PasswordCheck;
use shared::http::{Request, Response};
use shared::store::audit::{self, Audit, Event, Outcome};
use shared::store::credentials::Credentials;
use shared::store::dynamodb::{DynamoDb, Write};
use shared::store::outbox::{Kind, Outbox};
use shared::store::users::Users;
use shared::{random, telemetry};

/// Which part of the transaction was refused.
#[derive(Clone, Copy)]
enum Refused {
    /// Somebody else changed the password at the same time.
    Changed,
    /// Deleted or disabled since the record was read.
    NotActive,
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Changed => Self::InvalidCredentials,
            Refused::NotActive => Self::TokenRevoked,
        }
    }
}

pub async fn change_password(app: &App, request: Request) -> Result<Response, ApiError> {
    let caller = app.authenticator.required(&request).await?;
    let user = &caller.user;
    let owner = Owner {
        email: Some(&user.email),
        username: user.username.as_ref(),
    };
    let check = |body: &ChangePasswordRequest| body.check_new_password(&app.policy, owner);
    let body = request.json_with(check)?;
    let (current, new) = (
        body.current_password.into_inner(),
        body.new_password.into_inner(),
    );
    let (check, event) = (&app.password_check, Event::PasswordChange);
    let old = check.verify(user, &current, event, &request).await?;
    let new = telemetry::hashing(|| app.password_check.hasher.hash(&new, random::bytes()));

    // The other sessions first: if they cannot be ended, nothing has changed and the owner tries again.
    // And once more after it, for one that was started with the old password in between.
    let sessions = &app.authenticator.sessions;
    sessions.revoke_others(caller.session_id, user.id).await?;
    write(app, user, &old, &new, &request).await?;
    sessions.revoke_others(caller.session_id, user.id).await?;
    Ok(Response::done("The password was changed."))
}

/// The password with all that follows from it: a reset link that is on its way is void, and the owner
/// gets a mail.
async fn write(
    app: &App,
    user: &User,
    old: &PasswordHash,
    new: &PasswordHash,
    request: &Request,
) -> Result<(), ApiError> {
    let (now, origin, language) = (request.received_at(), request.origin(), request.language());
    let (event, success) = (Event::PasswordChange, Outcome::Success);
    let writes = vec![
        Write::new(
            app.password_check
                .credentials
                .change_password(user.id, old, new, now),
            Refused::Changed,
        ),
        Write::new(app.users.void_reset_token(user.id, now), Refused::NotActive),
        Write::new(
            app.outbox
                .create(Kind::PasswordChanged, user, None, language, now),
            Refused::NotActive,
        ),
        Write::new(
            app.audit.create(user.id, event, success, origin),
            Refused::NotActive,
        ),
    ];
    app.dynamodb.transact(writes).await?;
    audit::log(Some(user.id), event, success, origin);
    Ok(())
}

/// What this endpoint may touch.
pub struct App {
    pub guard: Guard,
    password_check: PasswordCheck,
    authenticator: Authenticator,
    dynamodb: DynamoDb,
    users: Users,
    outbox: Outbox,
    audit: Audit,
    policy: Policy,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let dynamodb = environment.dynamodb();
        let users_table = environment.text("USERS_TABLE");
        let credentials_table = environment.text("CREDENTIALS_TABLE");
        let users = Users::new(dynamodb.clone(), users_table.clone());
        let audit = Audit::new(dynamodb.clone(), users_table.clone());
        let password_check = PasswordCheck {
            credentials: Credentials::new(dynamodb.clone(), credentials_table),
            hasher: environment.password_hasher(),
            lockout: environment.lockout(),
            audit: audit.clone(),
        };
        let endpoint = Endpoint::per_user("PASSWORD_CHANGE", "5/15m");
        let app = Self {
            guard: Guard::for_users(&mut environment, Some(endpoint)),
            password_check,
            authenticator: environment.authenticator(users.clone()),
            users,
            outbox: Outbox::new(users_table),
            audit,
            dynamodb,
            policy: environment.password_policy(),
        };
        environment.finish(app)
    }
}
