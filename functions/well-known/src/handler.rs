use shared::StartError;
use shared::config::Environment;
use shared::error::ApiError;
use shared::http::Response;
use url::Url;

/// To the configured page, whatever the request says: nobody else chooses where it leads.
pub fn change_password(app: &App) -> Result<Response, ApiError> {
    Response::found(&app.page)
}

/// Everything that this endpoint may touch.
pub struct App {
    page: String,
}

impl App {
    /// `CHANGE_PASSWORD_URL`, or `/change-password` beneath `FRONTEND_URL`.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let frontend = environment.url("FRONTEND_URL");
        let default = format!("{}/change-password", frontend.trim_end_matches('/'));
        let page = environment.optional_page_url("CHANGE_PASSWORD_URL");
        let page = page.or_else(|| Url::parse(&default).ok());
        // As the URL parser writes it, which fits into a header.
        let page = page.map(String::from).unwrap_or_default();
        environment.finish(Self { page })
    }
}
