//! What the mails say: one file of texts per language, one template for HTML, one for text.

use std::collections::BTreeMap;

use askama::Template;
use serde::Deserialize;
use shared::domain::language::Language;
use shared::store::outbox::Kind;

/// A mail without its address.
pub struct Letter {
    /// The subject.
    pub subject: String,
    /// For those who read HTML.
    pub html: String,
    /// For everybody else.
    pub text: String,
}

/// Writes letters in the name of an application.
pub struct Writer {
    application: String,
    english: Texts,
    german: Texts,
}

/// A file of texts. `{app}` and `{name}` stand for the application's and the reader's name.
#[derive(Deserialize)]
struct Texts {
    language: String,
    greeting: String,
    greeting_without_name: String,
    footer: String,
    letters: BTreeMap<String, LetterTexts>,
}

#[derive(Deserialize)]
struct LetterTexts {
    subject: String,
    paragraphs: Vec<String>,
    button: Option<String>,
    reject: Option<String>,
}

#[derive(Template)]
#[template(path = "letter.html")]
struct Html<'a>(Parts<'a>);

#[derive(Template)]
#[template(path = "letter.txt", escape = "none")]
struct Text<'a>(Parts<'a>);

#[derive(Clone)]
struct Parts<'a> {
    language: &'a str,
    subject: &'a str,
    greeting: &'a str,
    paragraphs: &'a [String],
    button: Option<(&'a str, &'a str)>,
    reject: Option<(&'a str, &'a str)>,
    footer: &'a str,
}

impl Writer {
    /// For this application.
    pub fn new(application: String) -> Self {
        Self {
            application,
            english: texts(include_str!("../texts/en.json")),
            german: texts(include_str!("../texts/de.json")),
        }
    }

    /// A letter of this kind.
    #[expect(
        clippy::expect_used,
        reason = "each kind has its texts, as a test shows"
    )]
    pub fn write(
        &self,
        kind: Kind,
        language: Language,
        name: Option<&str>,
        link: Option<String>,
        reject_link: Option<String>,
    ) -> Letter {
        let texts = match language {
            Language::En => &self.english,
            Language::De => &self.german,
        };
        let fill = |text: &str| text.replace("{app}", &self.application);
        let letter = texts.letters.get(key(kind)).expect("texts for the kind");
        let greeting = match name {
            // The name last: whatever is in it is not filled in again.
            Some(name) => fill(&texts.greeting).replace("{name}", name),
            None => fill(&texts.greeting_without_name),
        };
        let paragraphs: Vec<String> = letter.paragraphs.iter().map(|text| fill(text)).collect();
        let subject = fill(&letter.subject);
        let footer = fill(&texts.footer);
        let parts = Parts {
            language: &texts.language,
            subject: &subject,
            greeting: &greeting,
            paragraphs: &paragraphs,
            button: letter.button.as_deref().zip(link.as_deref()),
            reject: letter.reject.as_deref().zip(reject_link.as_deref()),
            footer: &footer,
        };
        let html = Html(parts.clone()).render().expect("the template renders");
        let text = Text(parts).render().expect("the template renders");
        Letter {
            subject,
            html,
            text,
        }
    }
}

#[expect(clippy::expect_used, reason = "the files are part of the program")]
fn texts(json: &str) -> Texts {
    serde_json::from_str(json).expect("a file of texts")
}

fn key(kind: Kind) -> &'static str {
    match kind {
        Kind::VerifyEmail => "verify_email",
        Kind::ResetPassword => "reset_password",
        Kind::PasswordChanged => "password_changed",
        Kind::PasswordWasReset => "password_was_reset",
        Kind::NewDevice => "new_device",
        Kind::TwoFactorOn => "two_factor_on",
        Kind::TwoFactorOff => "two_factor_off",
        Kind::BackupCodeUsed => "backup_code_used",
        Kind::AccountDeleted => "account_deleted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 9] = [
        Kind::VerifyEmail,
        Kind::ResetPassword,
        Kind::PasswordChanged,
        Kind::PasswordWasReset,
        Kind::NewDevice,
        Kind::TwoFactorOn,
        Kind::TwoFactorOff,
        Kind::BackupCodeUsed,
        Kind::AccountDeleted,
    ];

    fn link() -> Option<String> {
        Some("https://app.example/page#token=0123&reject=true".to_owned())
    }

    #[test]
    fn every_kind_has_its_letter_in_every_language() {
        let writer = Writer::new("Gatehouse".to_owned());
        let mut subjects = std::collections::BTreeSet::new();
        for kind in KINDS {
            for language in [Language::En, Language::De] {
                let letter = writer.write(kind, language, Some("Ada"), link(), link());

                for part in [&letter.subject, &letter.html, &letter.text] {
                    assert!(!part.is_empty() && !part.contains('{'.to_string().repeat(2).as_str()));
                    assert!(
                        !part.contains("{app}") && !part.contains("{name}"),
                        "{part}"
                    );
                }
                assert!(letter.html.contains("Ada") && letter.text.contains("Ada"));
                assert!(
                    subjects.insert(letter.subject),
                    "each has a subject of its own"
                );
            }
        }
    }

    #[test]
    fn a_name_stays_text() {
        let writer = Writer::new("A & B".to_owned());
        let name = "<script>alert(1)</script> {app}";

        let letter = writer.write(Kind::PasswordChanged, Language::En, Some(name), None, None);

        assert!(!letter.html.contains("<script>"), "{}", letter.html);
        assert!(
            letter.html.contains("&#60;script&#62;alert(1)") && letter.html.contains("A &#38; B")
        );
        assert!(
            letter.text.contains(name),
            "text needs no escaping: {}",
            letter.text
        );
    }

    #[test]
    fn the_link_is_in_both_forms_and_whole() {
        let writer = Writer::new("Gatehouse".to_owned());

        let letter = writer.write(Kind::VerifyEmail, Language::En, None, link(), link());

        let link = link().unwrap();
        assert_eq!(letter.text.matches(&link).count(), 2, "{}", letter.text);
        assert!(
            letter.html.contains(&link.replace('&', "&#38;")),
            "{}",
            letter.html
        );
    }
}
