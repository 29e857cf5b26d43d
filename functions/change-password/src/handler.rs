use shared::StartError;
use shared::api::Field;
use shared::api::change_password::{ChangePasswordAnswer, ChangePasswordRequest};
use shared::config::Environment;
use shared::domain::device_token::{Device, DeviceTokenIssuer};
use shared::domain::id::Id;
use shared::domain::password::{Owner, Policy};
use shared::domain::password_hash::PasswordHash;
use shared::error::ApiError;
use shared::http::authentication::{Authenticator, Caller};
use shared::http::guard::{Endpoint, Guard};
use shared::http::password_check::PasswordCheck;
use shared::http::second_factor::{Factor, SecondFactor};
use shared::http::token_issuer::hand_over_device;
use shared::http::{Request, Response};
use shared::store::audit::{self, Audit, Event, Outcome};
use shared::store::dynamodb::{DynamoDb, Write};
use shared::store::outbox::{Kind, Links, Outbox};
use shared::store::users::Users;
use shared::{clock, random, telemetry};

/// Which part of the transaction was refused.
#[derive(Clone, Copy)]
enum Refused {
    /// Somebody else changed the password at the same time.
    Changed,
    /// Deleted, disabled or signed out since the record was read.
    NotActive,
    /// The code has been used meanwhile.
    FactorUsed,
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Changed => Self::SignedInInvalidCredentials,
            Refused::NotActive => Self::TokenRevoked,
            Refused::FactorUsed => Self::TwoFactorUsed,
        }
    }
}

pub async fn change_password(app: &App, request: Request) -> Result<Response, ApiError> {
    change(app, request).await.map_err(ApiError::of_signed_in)
}

async fn change(app: &App, request: Request) -> Result<Response, ApiError> {
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
    let code = body.two_factor_token.map(Field::into_inner);
    let (check, event) = (&app.password_check, Event::PasswordChange);
    let old = check.verify(&caller, &current, event, &request).await?;
    let factor = app
        .second_factor
        .check_if_enabled(user, code.as_ref(), event, &request)
        .await?;
    let new = telemetry::hashing(|| app.password_check.hasher.hash(&new, random::bytes()));
    let result = write(app, &caller, (&old, &new), factor.as_ref(), &request).await;
    if let Some(factor) = &factor {
        app.second_factor.settle(factor, &result, &request).await;
    }
    result?;
    // By the record the other sessions and all device tokens are over already.
    let (now, sessions) = (request.received_at(), &app.authenticator.sessions);
    let device = Device {
        id: Id::new(now, random::bytes()),
        user_id: user.id,
    };
    let others = sessions.revoke_others_and_devices(caller.session_id, device, request.origin());
    clock::aftermath("removing the sessions that are over", others).await;
    let token = app.device_tokens.issue(device, now);
    let (device_token, cookies) = hand_over_device(token, &request);
    let answer = ChangePasswordAnswer { device_token };
    Ok(Response::ok("The password was changed.", answer).with_cookies(cookies))
}

/// The password with all that follows from it: a reset link that is on its way is void, and the owner
/// gets a mail.
async fn write(
    app: &App,
    caller: &Caller,
    (old, new): (&PasswordHash, &PasswordHash),
    factor: Option<&Factor>,
    request: &Request,
) -> Result<(), ApiError> {
    let user = &caller.user;
    let (now, origin, language) = (request.received_at(), request.origin(), request.language());
    let (event, success) = (Event::PasswordChange, Outcome::Success);
    let uses_backup_code = factor.is_some_and(Factor::is_backup_code);
    // First what tells most: a code that was used meanwhile.
    let uses_code = factor.map(|factor| {
        let item = factor.write(&app.second_factor.store, request);
        Write::new(item, Refused::FactorUsed)
    });
    let mut writes: Vec<_> = uses_code.into_iter().collect();
    writes.extend([
        Write::new(
            app.password_check
                .credentials
                .change_password(user.id, old, new, now),
            Refused::Changed,
        ),
        Write::new(
            app.users
                .record_new_password(user, caller.session_id, uses_backup_code, now),
            Refused::NotActive,
        ),
        Write::new(
            app.outbox.create(
                Kind::PasswordChanged,
                user,
                &Links::none(),
                language,
                origin,
            ),
            Refused::NotActive,
        ),
        Write::new(
            app.audit.create(user.id, event, success, origin),
            Refused::NotActive,
        ),
    ]);
    if uses_backup_code {
        let mail = app
            .outbox
            .create(Kind::BackupCodeUsed, user, &Links::none(), language, origin);
        writes.push(Write::new(mail, Refused::NotActive));
    }
    app.dynamodb.transact(writes).await?;
    audit::log(Some(user.id), event, success, origin);
    Ok(())
}

/// What this endpoint may touch.
pub struct App {
    pub guard: Guard,
    password_check: PasswordCheck,
    second_factor: SecondFactor,
    device_tokens: DeviceTokenIssuer,
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
        let outbox = Outbox::new(users_table);
        let second_factor = environment.second_factor(
            dynamodb.clone(),
            credentials_table,
            audit.clone(),
            outbox.clone(),
        );
        let endpoint = Endpoint::per_user("PASSWORD_CHANGE", "5/15m");
        let app = Self {
            guard: Guard::for_users(&mut environment, Some(endpoint)),
            password_check: environment.password_check(&dynamodb, &audit),
            second_factor,
            device_tokens: environment.device_token_issuer(),
            authenticator: environment.authenticator(users.clone()),
            users,
            outbox,
            audit,
            dynamodb,
            policy: environment.password_policy(),
        };
        environment.finish(app)
    }
}
