use serde_json::Value;
use shared::StartError;
use shared::error::ApiError;
use shared::http::{Request, Response};

pub fn openapi(app: &App, request: &Request) -> Result<Response, ApiError> {
    if let Some(name) = request.path_parameter("file") {
        return file(name).ok_or(ApiError::NotFound);
    }
    match request.is_to("GET /api/auth/docs") {
        true => Ok(Response::page_of_files(PAGE)),
        false => Ok(Response::public_document(&app.document)),
    }
}

const PAGE: &str = include_str!("../templates/docs.html");

/// Returns a file of the page: its own two, and those of Swagger UI, which `infra/docs-viewer` brings.
fn file(name: &str) -> Option<Response> {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    const STYLE: &str = "text/css; charset=utf-8";
    Some(match name {
        "docs.js" => Response::file(SCRIPT, include_bytes!("../templates/docs.js")),
        "docs.css" => Response::file(STYLE, include_bytes!("../templates/docs.css")),
        "swagger-ui.js" => {
            Response::gzipped_file(SCRIPT, include_bytes!("../viewer/swagger-ui.js.gz"))
        }
        "swagger-ui.css" => {
            Response::gzipped_file(STYLE, include_bytes!("../viewer/swagger-ui.css.gz"))
        }
        _ => return None,
    })
}

/// The endpoint's dependencies.
pub struct App {
    document: Value,
}

impl App {
    /// Parses `docs/openapi.json`, which is written for people; it is sent without its white space.
    pub fn new() -> Result<Self, StartError> {
        let document = serde_json::from_str(include_str!("../../../docs/openapi.json"));
        let document = document.map_err(StartError::new)?;
        Ok(Self { document })
    }
}
