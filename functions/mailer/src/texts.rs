//! The texts of the mails: one file per language, which a team's own file replaces in part.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The placeholder that every text may have.
const EVERYWHERE: [&str; 1] = ["app"];
const IN_GREETING: [&str; 2] = ["app", "name"];
const IN_ORIGIN: [&str; 5] = ["app", "time", "ip", "agent", "account"];

/// A file of texts. `{app}` is a placeholder for the application's name and, in `greeting`, `{name}` for the reader's;
/// in `origin`, `{time}`, `{ip}`, `{agent}` and `{account}` say when, from where, and whose account.
#[derive(Deserialize)]
pub struct Texts {
    /// The language, as in HTML's attribute `lang`.
    pub language: String,
    /// The first line.
    pub greeting: String,
    /// The first line for a reader without a name.
    pub greeting_without_name: String,
    /// The line at the end.
    pub footer: String,
    /// When and from where the mail was caused.
    pub origin: String,
    /// The line before a code beside a link.
    pub code: String,
    /// The name of a program that is not known.
    pub unknown_agent: String,
    /// The texts of each kind of mail.
    pub letters: BTreeMap<String, Letter>,
}

/// The texts of one kind of mail.
#[derive(Deserialize)]
pub struct Letter {
    /// The subject.
    pub subject: String,
    /// The text.
    pub paragraphs: Vec<String>,
    /// The label of the button.
    pub button: Option<String>,
    /// The label of the link "this wasn't me".
    pub reject: Option<String>,
}

impl Texts {
    /// Parses a built-in file.
    ///
    /// # Errors
    /// The problem, if it is not a file of texts.
    pub fn parse(built_in: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(built_in)
    }

    /// Parses a built-in file and a team's own, which has the texts to be replaced.
    ///
    /// # Errors
    /// All problems of the team's file.
    pub fn replaced(built_in: &str, own: &str) -> Result<Self, Vec<String>> {
        let parse = |text| serde_json::from_str(text).map_err(|error| vec![error.to_string()]);
        let (mut texts, own) = (parse(built_in)?, parse(own)?);
        let mut problems = Vec::new();
        replace(&mut texts, own, "", &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let texts: Self = serde_json::from_value(texts).map_err(|error| vec![error.to_string()])?;
        match texts.problems() {
            problems if problems.is_empty() => Ok(texts),
            problems => Err(problems),
        }
    }

    /// Returns the texts with wrong placeholders, and the subjects that would break out of their header.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |path: String, text: &str, known: &[&str]| {
            for name in placeholders(text).filter(|name| !known.contains(name)) {
                problems.push(format!("{path} has the unknown placeholder {{{name}}}"));
            }
            if path.ends_with(".subject") && text.contains(breaks_line) {
                problems.push(format!(
                    "{path} must be one line without control characters"
                ));
            }
        };
        check("greeting".to_owned(), &self.greeting, &IN_GREETING);
        check("origin".to_owned(), &self.origin, &IN_ORIGIN);
        for (name, text) in [
            ("language", &self.language),
            ("greeting_without_name", &self.greeting_without_name),
            ("footer", &self.footer),
            ("code", &self.code),
            ("unknown_agent", &self.unknown_agent),
        ] {
            check(name.to_owned(), text, &EVERYWHERE);
        }
        for (name, letter) in &self.letters {
            let paragraphs = letter.paragraphs.iter().map(|text| ("paragraphs", text));
            let labels = [("button", &letter.button), ("reject", &letter.reject)];
            let labels = labels.into_iter();
            let labels = labels.filter_map(|(key, text)| Some((key, text.as_ref()?)));
            let subject = std::iter::once(("subject", &letter.subject));
            for (key, text) in subject.chain(paragraphs).chain(labels) {
                check(format!("letters.{name}.{key}"), text, &EVERYWHERE);
            }
        }
        problems
    }
}

/// Fills in placeholders. A value that looks like a placeholder stays as it is.
pub fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, name, after)) = split(rest) {
        filled.push_str(before);
        match values.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => filled.push_str(value),
            None => filled.push_str(&rest[before.len()..rest.len() - after.len()]),
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// Splits a text at its first placeholder, which a text without `}` has to its end.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (name, after) = rest.split_once('}').unwrap_or((rest, ""));
    Some((before, name, after))
}

fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, name, after) = split(rest)?;
        rest = after;
        Some(name)
    })
}

/// Returns whether a character ends a line or controls a program; in a subject, it could begin another header.
fn breaks_line(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// Replaces the texts that `own` has. A key that the built-in texts lack is a typing error.
fn replace(texts: &mut Value, own: Value, path: &str, problems: &mut Vec<String>) {
    match (texts, own) {
        (Value::Object(texts), Value::Object(own)) => {
            for (key, own) in own {
                let dot = if path.is_empty() { "" } else { "." };
                let path = format!("{path}{dot}{key}");
                match texts.get_mut(&key) {
                    Some(text) => replace(text, own, &path, problems),
                    None => problems.push(format!("{path} is unknown")),
                }
            }
        }
        (Value::Array(texts), Value::Array(own)) if own.iter().all(Value::is_string) => {
            *texts = own;
        }
        (Value::String(text), Value::String(own)) => *text = own,
        (Value::Object(_), _) if path.is_empty() => problems.push("must be an object".to_owned()),
        (Value::Object(_), _) => problems.push(format!("{path} must be an object")),
        (Value::Array(_), _) => problems.push(format!("{path} must be a list of texts")),
        _ => problems.push(format!("{path} must be a text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GERMAN: &str = include_str!("../texts/de.json");

    fn problems(own: &str) -> String {
        let replaced = Texts::replaced(GERMAN, own);
        replaced
            .err()
            .map_or_else(String::new, |all| all.join("; "))
    }

    #[test]
    fn a_file_with_some_texts_replaces_these() {
        let own = r#"{ "greeting": "Moin {name}!", "letters": { "verify_email": { "subject": "Hallo {app}" },
            "new_device": { "paragraphs": ["Ein Gerät."] } } }"#;

        let texts = Texts::replaced(GERMAN, own).unwrap();

        let built_in = Texts::parse(GERMAN).unwrap();
        assert_eq!(texts.greeting, "Moin {name}!");
        assert_eq!(texts.footer, built_in.footer);
        let (letter, before) = (
            &texts.letters["verify_email"],
            &built_in.letters["verify_email"],
        );
        assert_eq!(letter.subject, "Hallo {app}");
        assert_eq!(
            (&letter.paragraphs, &letter.button),
            (&before.paragraphs, &before.button)
        );
        assert_eq!(texts.letters["new_device"].paragraphs, ["Ein Gerät."]);
        assert_eq!(texts.letters.len(), built_in.letters.len());
    }

    #[test]
    fn typing_errors_are_named() {
        for (own, problem) in [
            ("{", "EOF while parsing an object at line 1 column 1"),
            ("[]", "must be an object"),
            (r#"{ "greting": "Moin" }"#, "greting is unknown"),
            (
                r#"{ "letters": { "verify_emial": {} } }"#,
                "letters.verify_emial is unknown",
            ),
            (
                r#"{ "letters": { "account_deleted": { "button": "Weg" } } }"#,
                "letters.account_deleted.button is unknown",
            ),
            (
                r#"{ "letters": { "new_device": "Moin" } }"#,
                "letters.new_device must be an object",
            ),
            (
                r#"{ "letters": { "new_device": { "paragraphs": "Moin" } } }"#,
                "letters.new_device.paragraphs must be a list of texts",
            ),
            (r#"{ "greeting": null }"#, "greeting must be a text"),
            (
                r#"{ "greeting": "Moin {nmae}" }"#,
                "greeting has the unknown placeholder {nmae}",
            ),
            (
                r#"{ "footer": "Moin {name}" }"#,
                "footer has the unknown placeholder {name}",
            ),
            (
                r#"{ "letters": { "new_device": { "paragraphs": ["", "von {ip"] } } }"#,
                "letters.new_device.paragraphs has the unknown placeholder {ip}",
            ),
        ] {
            assert_eq!(problems(own), problem, "{own}");
        }
        let both = problems(r#"{ "a": "", "b": "" }"#);
        assert_eq!(both, "a is unknown; b is unknown");
    }

    /// A line break in a subject could begin another header.
    #[test]
    fn a_subject_is_one_line() {
        for character in ["\\n", "\\r", "\\u0000", "\\u0085", "\\u2028"] {
            let own = format!(
                r#"{{ "letters": {{ "new_device": {{ "subject": "Moin{character}Bcc: ada@example.com" }} }} }}"#
            );
            let problem = "letters.new_device.subject must be one line without control characters";
            assert_eq!(problems(&own), problem, "{character}");
        }
    }

    #[test]
    fn a_value_that_looks_like_a_placeholder_stays() {
        let values = [("app", "{name}"), ("name", "{app}")];

        let filled = fill("{app}, {name}, {other}, {", &values);

        assert_eq!(filled, "{name}, {app}, {other}, {");
    }
}
