use shared::StartError;
use shared::api::Field;
use shared::api::profile::{ProfileAnswer, UpdateProfileAnswer, UpdateProfileRequest};
use shared::config::Environment;
use shared::domain::avatar_url::AvatarUrl;
use shared::domain::person_name::PersonName;
use shared::domain::user::User;
use shared::domain::username::Username;
use shared::error::ApiError;
use shared::http::authentication::Authenticator;
use shared::http::guard::{Endpoint, Guard};
use shared::http::{Method, Request, Response};
use shared::store::audit::{self, Audit, Event, Outcome};
use shared::store::dynamodb::{DynamoDb, TransactionError, Write};
use shared::store::users::Users;

/// Tries at a change that meets another change of the same record.
const TRIES: u32 = 3;

/// What PUT may change: nothing in it stays, `Some(None)` clears.
struct Changes {
    username: Option<Option<Username>>,
    name: Option<Option<PersonName>>,
    avatar_url: Option<Option<AvatarUrl>>,
}

impl From<UpdateProfileRequest> for Changes {
    fn from(body: UpdateProfileRequest) -> Self {
        fn change<T>(field: Option<Option<Field<T>>>) -> Option<Option<T>> {
            field.map(|value| value.map(Field::into_inner))
        }
        Self {
            username: change(body.username).map(|new| new.map(Username::from)),
            name: change(body.name),
            avatar_url: change(body.avatar_url),
        }
    }
}

impl Changes {
    fn applied_to(&self, user: &User) -> User {
        let user = user.clone();
        User {
            username: self.username.clone().unwrap_or(user.username),
            name: self.name.clone().unwrap_or(user.name),
            avatar_url: self.avatar_url.clone().unwrap_or(user.avatar_url),
            ..user
        }
    }
}

/// The address is a field of the user, and none that is changed here: not a slip of the pen.
fn explain_email(error: ApiError) -> ApiError {
    let ApiError::ValidationFailed(mut details) = error else {
        return error;
    };
    let mut about_it = details.iter_mut();
    if let Some(detail) = about_it.find(|detail| detail.field == "email") {
        detail.message = "cannot be changed; register with the new address".to_owned();
    }
    ApiError::ValidationFailed(details)
}

/// Which part of the transaction was refused.
#[derive(Clone, Copy)]
enum Refused {
    /// The record has changed since it was read.
    Stale,
    UsernameTaken,
}

pub async fn profile(app: &App, request: Request) -> Result<Response, ApiError> {
    match *request.method() {
        Method::GET => show(app, &request).await,
        Method::PUT => update(app, &request).await,
        _ => Err(ApiError::NotFound),
    }
}

async fn show(app: &App, request: &Request) -> Result<Response, ApiError> {
    let user = app.authenticator.required(request).await?.user;
    Ok(Response::ok(
        "The profile.",
        ProfileAnswer {
            user: (&user).into(),
            two_factor: (&user).into(),
        },
    ))
}

async fn update(app: &App, request: &Request) -> Result<Response, ApiError> {
    let caller = app.authenticator.required(request).await?;
    let body = request.optional_json(); // all fields are optional
    let body: UpdateProfileRequest = body.map_err(explain_email)?;
    let changes = Changes::from(body);

    let mut read = caller.user;
    for _ in 0..TRIES {
        let changed = changes.applied_to(&read);
        match write(app, &read, &changed, request).await {
            Ok(()) => {
                audit::log(
                    Some(read.id),
                    Event::ProfileUpdate,
                    Outcome::Success,
                    request.origin(),
                );
                let user = User {
                    updated_at: request.received_at(),
                    ..changed
                };
                return Ok(Response::ok(
                    "The profile was changed.",
                    UpdateProfileAnswer {
                        user: (&user).into(),
                    },
                ));
            }
            Err(TransactionError::Refused(Refused::UsernameTaken)) => {
                return Err(ApiError::UsernameTaken);
            }
            Err(TransactionError::Store(error)) => return Err(error.into()),
            // Somebody changed the record at the same time: once more, on top of that change.
            Err(TransactionError::Refused(Refused::Stale)) => {
                let current = app.users.find(read.id, request.received_at()).await?;
                // Nor is it a session's to make that is over by that change.
                let is_as_before = |current: &User| {
                    current.is_active() && current.session_epoch == read.session_epoch
                };
                read = current.filter(is_as_before).ok_or(ApiError::TokenRevoked)?;
            }
        }
    }
    Err(ApiError::ServiceUnavailable(
        "the record kept changing".into(),
    ))
}

/// The record, the audit entry and, on a rename, both claims: all or nothing, so that a username is
/// never lost between two of them.
async fn write(
    app: &App,
    read: &User,
    changed: &User,
    request: &Request,
) -> Result<(), TransactionError<Refused>> {
    let now = request.received_at();
    let mut writes = vec![
        Write::new(app.users.update_profile(changed, now), Refused::Stale),
        Write::new(
            app.audit.create(
                read.id,
                Event::ProfileUpdate,
                Outcome::Success,
                request.origin(),
            ),
            Refused::Stale,
        ),
    ];
    let canonical = |user: &User| user.username.as_ref().map(Username::canonical);
    if canonical(read) != canonical(changed) {
        if let Some(new) = &changed.username {
            writes.push(Write::new(
                app.users.claim_username(new, read, now),
                Refused::UsernameTaken,
            ));
        }
        if let Some(old) = &read.username {
            writes.push(Write::new(
                app.users.release_username(old, read.id),
                Refused::Stale,
            ));
        }
    }
    app.dynamodb.transact(writes).await
}

/// What this endpoint may touch.
pub struct App {
    pub guard: Guard,
    authenticator: Authenticator,
    dynamodb: DynamoDb,
    users: Users,
    audit: Audit,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let dynamodb = environment.dynamodb();
        let users_table = environment.text("USERS_TABLE");
        let users = Users::new(dynamodb.clone(), users_table.clone());
        let endpoint = Endpoint::per_user("PROFILE", "20/15m");
        let app = Self {
            guard: Guard::for_users(&mut environment, Some(endpoint)),
            authenticator: environment.authenticator(users.clone()),
            users,
            audit: Audit::new(dynamodb.clone(), users_table),
            dynamodb,
        };
        environment.finish(app)
    }
}
