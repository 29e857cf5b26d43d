use shared::StartError;
use shared::config::Environment;
use shared::error::ApiError;
use shared::http::Response;

/// To the configured page, whatever the request says: nobody else chooses where it leads.
pub fn change_password(app: &App) -> Result<Response, ApiError> {
    Response::found(&app.page)
}

/// What this endpoint may touch.
pub struct App {
    page: String,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let page = environment.change_password_page();
        environment.finish(Self { page })
    }
}
