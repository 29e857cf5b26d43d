use askama::Template;
use shared::error::ApiError;
use shared::http::{Request, Response};

const DOCUMENT: &str = include_str!("../../../docs/errors.md");
const STYLE: &str = include_str!("../templates/style.css");

pub fn errors(request: &Request) -> Result<Response, ApiError> {
    let page = match request.path_parameter("code") {
        None => Page::of_all(),
        Some(code) => Page::of(code).ok_or(ApiError::NotFound)?,
    };
    let html = page.render();
    let html = html.map_err(|error| ApiError::Internal(error.into()))?;
    Ok(Response::page(html, STYLE))
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page {
    style: &'static str,
    /// The code that the page explains; `None` on the page that lists all codes.
    code: Option<&'static str>,
    paragraphs: Vec<&'static str>,
    codes: Vec<&'static str>,
}

impl Page {
    fn of_all() -> Self {
        let mut sections = DOCUMENT.split("\n## ");
        let introduction = sections.next().unwrap_or_default();
        let (_, introduction) = introduction.split_once('\n').unwrap_or_default();
        Self {
            style: STYLE,
            code: None,
            paragraphs: paragraphs(introduction),
            codes: sections.filter_map(title).collect(),
        }
    }

    fn of(code: &str) -> Option<Self> {
        let mut sections = DOCUMENT.split("\n## ").skip(1);
        let section = sections.find(|section| title(section) == Some(code))?;
        let (title, text) = section.split_once('\n')?;
        Some(Self {
            style: STYLE,
            code: Some(title),
            paragraphs: paragraphs(text),
            codes: Vec::new(),
        })
    }
}

fn title(section: &'static str) -> Option<&'static str> {
    section.lines().next()
}

fn paragraphs(text: &'static str) -> Vec<&'static str> {
    let paragraphs = text.split("\n\n").map(str::trim);
    paragraphs.filter(|text| !text.is_empty()).collect()
}
