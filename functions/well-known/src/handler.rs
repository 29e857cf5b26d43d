use shared::StartError;
use shared::auth::frontends::Frontends;
use shared::config::Environment;
use shared::error::ApiError;
use shared::http::Response;
use url::Url;

/// Redirects to the configured page, whatever the request says: a client cannot choose the target.
pub fn change_password(app: &App) -> Result<Response, ApiError> {
    Response::found(&app.page)
}

/// The endpoint's dependencies.
pub struct App {
    page: String,
}

impl App {
    /// Reads `CHANGE_PASSWORD_URL`; by default, `/change-password` beneath the first `FRONTEND_URL`.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let frontends = Frontends::from_env(&mut environment);
        let default = format!("{}/change-password", frontends.first());
        let page = environment.optional_page_url("CHANGE_PASSWORD_URL");
        let page = page.or_else(|| Url::parse(&default).ok());
        // The URL parser's output is valid in a header.
        let page = page.map(String::from).unwrap_or_default();
        environment.finish(Self { page })
    }
}
