//! The templates that lay out a mail, in the language of Jinja: one for HTML, one for plain text.

use std::fmt::Write as _;

use minijinja::value::Serde;
use minijinja::{Error, ErrorKind, Output, State, UndefinedBehavior, Value};
use serde::Serialize;

use crate::brand::Brand;

/// The template of the HTML form.
pub const HTML: &str = "message.html";
/// The template of the plain-text form.
pub const TEXT: &str = "message.txt";

/// Both templates.
pub struct Layout {
    templates: minijinja::Environment<'static>,
}

/// The values that a template gets.
#[derive(Serialize)]
pub struct Parts<'a> {
    /// The kind of mail, as the files of texts name it.
    pub kind: &'a str,
    /// The language.
    pub language: &'a str,
    /// The subject.
    pub subject: &'a str,
    /// The first line.
    pub greeting: &'a str,
    /// The text.
    pub paragraphs: &'a [String],
    /// The code to be typed.
    pub code: Option<Code<'a>>,
    /// The button.
    pub button: Option<Link<'a>>,
    /// The link "this wasn't me".
    pub reject: Option<Link<'a>>,
    /// The line at the end.
    pub footer: &'a str,
    /// The look.
    pub brand: &'a Brand,
}

/// A code to be typed.
#[derive(Serialize)]
pub struct Code<'a> {
    /// The line before it; the text of a mail that is about a code says it itself.
    pub hint: Option<&'a str>,
    /// Its digits.
    pub digits: &'a str,
}

/// A link.
#[derive(Serialize)]
pub struct Link<'a> {
    /// Its label.
    pub label: &'a str,
    /// Its target.
    pub link: &'a str,
}

impl Layout {
    /// Returns the built-in templates.
    ///
    /// # Errors
    /// The problem, if they are not templates.
    pub fn built_in() -> Result<Self, Error> {
        let mut templates = minijinja::Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.set_debug(true); // errors name the unknown value
        templates.set_formatter(write);
        // A template could pass strangers' text on as HTML by mistake.
        templates.remove_filter("safe");
        templates.add_template(HTML, include_str!("../templates/message.html"))?;
        templates.add_template(TEXT, include_str!("../templates/message.txt"))?;
        Ok(Self { templates })
    }

    /// Replaces a template.
    ///
    /// # Errors
    /// The problem, if it is not a template.
    pub fn replace(&mut self, name: &'static str, template: String) -> Result<(), Error> {
        self.templates.add_template_owned(name, template)
    }

    /// Renders one form of a mail.
    ///
    /// # Errors
    /// The problem, if the template uses a value that the mail lacks.
    pub fn render(&self, name: &str, parts: &Parts<'_>) -> Result<String, Error> {
        self.templates.get_template(name)?.render(Serde(parts))
    }
}

/// Describes an error of a template. The description may contain values of the mail.
pub fn problem(error: &Error) -> String {
    let (name, line) = (error.name().unwrap_or_default(), error.line());
    let detail = error.detail().map(|detail| format!(", {detail}"));
    let (line, detail) = (line.unwrap_or_default(), detail.unwrap_or_default());
    format!("{name}: line {line}: {}{detail}", error.kind())
}

/// Writes a value; in HTML, escaped, whatever the template says. A value that a mail lacks is refused: it would be
/// written as "none".
fn write(output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.is_none() {
        let advice = "this mail lacks the value; ask for it with {% if %}";
        return Err(Error::new(ErrorKind::UndefinedError, advice));
    }
    let text = value.to_string();
    if state.name() != HTML || value.is_safe() {
        return Ok(output.write_str(&text)?);
    }
    for character in text.chars() {
        match character {
            '&' | '<' | '>' | '"' | '\'' => write!(output, "&#{};", u32::from(character))?,
            other => output.write_char(other)?,
        }
    }
    Ok(())
}
