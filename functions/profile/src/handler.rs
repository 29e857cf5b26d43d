use shared::StartError;
use shared::api::Field;
use shared::api::profile::{
    Identity, Passkey, ProfileAnswer, UpdateProfileAnswer, UpdateProfileRequest,
};
use shared::auth::authentication::Caller;
use shared::auth::retry::{Refusal, write_current};
use shared::config::Environment;
use shared::domain::avatar_url::AvatarUrl;
use shared::domain::client_info::ClientInfo;
use shared::domain::person_name::PersonName;
use shared::domain::user::User;
use shared::domain::username::Username;
use shared::error::ApiError;
use shared::http::{Method, Request, Response};
use shared::serve::{AuthenticatedGuard, Endpoint};
use shared::store::audit::{Audit, Event};
use shared::store::dynamodb::{TransactionError, Write};
use shared::store::users::Users;

const LIMIT: Endpoint = Endpoint::per_caller("PROFILE", "20/15m");

/// The changes of a PUT: `None` keeps a field, `Some(None)` clears it.
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

/// Explains that the address cannot be changed here, rather than calling `email`, a field of the user, unknown.
fn explain_email(error: ApiError) -> ApiError {
    let ApiError::ValidationFailed(mut details) = error else {
        return error;
    };
    let mut details_of_email = details.iter_mut().filter(|detail| detail.field == "email");
    if let Some(detail) = details_of_email.next() {
        detail.message = "cannot be changed; register with the new address".to_owned();
    }
    ApiError::ValidationFailed(details)
}

/// Why a change was not committed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// The record has changed since it was read.
    Stale,
    UsernameTaken,
}

impl Refusal for Refused {
    fn is_stale(&self) -> bool {
        *self == Self::Stale
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Stale => Self::ServiceUnavailable("the record kept changing".into()),
            Refused::UsernameTaken => Self::UsernameTaken,
        }
    }
}

pub async fn profile(app: &App, caller: Caller, request: Request) -> Result<Response, ApiError> {
    match *request.method() {
        Method::GET => Ok(show(&caller.user)),
        Method::PUT => update(app, caller, &request).await,
        _ => Err(ApiError::NotFound),
    }
}

fn show(user: &User) -> Response {
    let (passkeys, identities) = (user.passkeys.iter(), user.identities.iter());
    let answer = ProfileAnswer {
        user: user.into(),
        two_factor: user.into(),
        passkeys: passkeys
            .map(|(id, passkey)| Passkey::new(*id, passkey))
            .collect(),
        identities: identities
            .map(|(provider, identity)| Identity::new(provider, identity))
            .collect(),
        has_password: !user.has_no_password,
    };
    Response::ok("The profile.", answer)
}

async fn update(app: &App, caller: Caller, request: &Request) -> Result<Response, ApiError> {
    let body = request.optional_json(); // all fields are optional
    let body: UpdateProfileRequest = body.map_err(explain_email)?;
    let (changes, now) = (&Changes::from(body), request.received_at());
    let read = write_current(
        caller.user.clone(),
        |read| write(app, read, changes, request.client()),
        || caller.reread(&app.users, now),
    );
    let user = User {
        updated_at: now,
        ..changes.applied_to(&read.await?)
    };
    let answer = UpdateProfileAnswer {
        user: (&user).into(),
    };
    Ok(Response::ok("The profile was changed.", answer))
}

/// Writes the record and, on a rename, both claims, all or nothing: no other account can take either username in
/// between.
async fn write(
    app: &App,
    read: User,
    changes: &Changes,
    client: &ClientInfo,
) -> Result<(), TransactionError<Refused>> {
    let (changed, now) = (changes.applied_to(&read), client.received_at);
    let update = app.users.update_profile(&changed, now);
    let mut writes = vec![Write::new(update, Refused::Stale)];
    let canonical = |user: &User| user.username.as_ref().map(Username::canonical);
    if canonical(&read) != canonical(&changed) {
        if let Some(new) = &changed.username {
            let claim = app.users.claim_username(new, &read, now);
            writes.push(Write::new(claim, Refused::UsernameTaken));
        }
        if let Some(old) = &read.username {
            let release = app.users.release_username(old, read.id);
            writes.push(Write::new(release, Refused::Stale));
        }
    }
    let events = [Event::ProfileUpdate];
    app.audit
        .commit(read.id, &events, client, writes, Refused::Stale)
        .await
}

/// The endpoint's dependencies.
pub struct App {
    pub guard: AuthenticatedGuard,
    users: Users,
    audit: Audit,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            guard: AuthenticatedGuard::from_env(&mut environment, Some(LIMIT)),
            users: Users::from_env(&mut environment),
            audit: Audit::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
