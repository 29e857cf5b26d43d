//! The messages: one file of texts per language, one template for HTML, one for plain text. A team's own files replace
//! them.

use std::path::Path;

use shared::config::Environment;
use shared::domain::language::Language;
use shared::domain::timestamp::Timestamp;
use shared::store::outbox::Kind;

use crate::brand::Brand;
use crate::folder;
use crate::layout::{self, Code, HTML, Layout, Link, Parts, TEXT};
use crate::texts::{Texts, fill};
use crate::user_agent;

/// The built-in texts, in the folder of a team's own as files of these names.
const ENGLISH: (&str, &str) = ("en.json", include_str!("../texts/en.json"));
const GERMAN: (&str, &str) = ("de.json", include_str!("../texts/de.json"));

const LANGUAGES: [Language; 2] = [Language::En, Language::De];
const KINDS: [Kind; 18] = [
    Kind::VerifyEmail,
    Kind::ResetPassword,
    Kind::PasswordChanged,
    Kind::PasswordWasReset,
    Kind::NewDevice,
    Kind::TwoFactorOn,
    Kind::TwoFactorOff,
    Kind::SignInCode,
    Kind::PasskeyAdded,
    Kind::PasskeyRemoved,
    Kind::PasskeyCopied,
    Kind::IdentityLinked,
    Kind::IdentityUnlinked,
    Kind::BackupCodeUsed,
    Kind::TwoFactorLocked,
    Kind::ResetRequired,
    Kind::SessionUsedElsewhere,
    Kind::AccountDeleted,
];

/// A mail without its recipient.
pub struct Message {
    /// The subject.
    pub subject: String,
    /// The HTML form.
    pub html: String,
    /// The plain-text form.
    pub text: String,
}

/// The event that a message is about, and its reader.
pub struct Occasion<'a> {
    /// The kind of mail.
    pub kind: Kind,
    /// The reader's language.
    pub language: Language,
    /// The reader's name.
    pub name: Option<&'a str>,
    /// When the event happened.
    pub at: Timestamp,
    /// The IP address that caused it.
    pub ip: &'a str,
    /// The user agent that caused it.
    pub user_agent: &'a str,
    /// The account's address.
    pub account: &'a str,
    /// The code to be typed.
    pub code: Option<&'a str>,
    /// The target of the button.
    pub link: Option<String>,
    /// The target of the link "this wasn't me".
    pub reject_link: Option<String>,
}

/// The templates and texts of all messages, with their look.
pub struct Templates {
    brand: Brand,
    english: Texts,
    german: Texts,
    layout: Layout,
}

impl Templates {
    /// Reads the look and the folder that `MAIL_TEMPLATES` names.
    pub fn from_env(environment: &mut Environment) -> Self {
        let mut templates = Self::new(Brand::from_env(environment));
        if let Some(path) = environment.optional_text("MAIL_TEMPLATES") {
            for problem in templates.replace(Path::new(&path)) {
                environment.refuse(format!("MAIL_TEMPLATES: {problem}"));
            }
        }
        templates
    }

    /// Returns the built-in templates and texts.
    #[expect(clippy::expect_used, reason = "the files are part of the program")]
    pub fn new(brand: Brand) -> Self {
        Self {
            brand,
            english: Texts::parse(ENGLISH.1).expect("a file of texts"),
            german: Texts::parse(GERMAN.1).expect("a file of texts"),
            layout: Layout::built_in().expect("templates"),
        }
    }

    /// Replaces the templates and texts that a folder holds; returns its problems.
    fn replace(&mut self, folder: &Path) -> Vec<String> {
        let names = [HTML, TEXT, ENGLISH.0, GERMAN.0];
        let mut problems = Vec::new();
        for (name, content) in folder::read(folder, &names, &mut problems) {
            let replaced = match name {
                HTML | TEXT => {
                    let replaced = self.layout.replace(name, content);
                    replaced.map_err(|error| vec![layout::problem(&error)])
                }
                _ if name == ENGLISH.0 => {
                    replaced_texts(ENGLISH, &content).map(|texts| self.english = texts)
                }
                _ => replaced_texts(GERMAN, &content).map(|texts| self.german = texts),
            };
            problems.extend(replaced.err().unwrap_or_default());
        }
        if problems.is_empty() {
            problems.extend(self.check());
        }
        problems
    }

    /// Renders each kind of message in each language, with all values that it may have and with the fewest; returns the
    /// problems.
    fn check(&self) -> Vec<String> {
        let link = "https://app.example.com/page#token=0123";
        let in_each_language = |kind| LANGUAGES.map(|language| (kind, language));
        let mut problems = Vec::new();
        for (kind, language) in KINDS.into_iter().flat_map(in_each_language) {
            let least = Occasion {
                kind,
                language,
                name: None,
                at: Timestamp::from_milliseconds(0),
                ip: "",
                user_agent: "",
                account: "ada@example.com",
                code: None,
                link: None,
                reject_link: None,
            };
            let most = Occasion {
                name: Some("Ada"),
                ip: "192.0.2.7",
                code: Some("123456"),
                link: Some(link.to_owned()),
                reject_link: Some(link.to_owned()),
                ..least
            };
            for occasion in [least, most] {
                problems.extend(self.message(&occasion).err().as_ref().map(layout::problem));
            }
        }
        problems
    }

    /// Renders the message about an occasion.
    ///
    /// # Errors
    /// The problem, if a team's own template fails with the values of this mail.
    #[expect(
        clippy::expect_used,
        reason = "each kind has its texts, as a test shows"
    )]
    pub fn message(&self, occasion: &Occasion<'_>) -> Result<Message, minijinja::Error> {
        let texts = match occasion.language {
            Language::En => &self.english,
            Language::De => &self.german,
        };
        let app = ("app", self.brand.application.as_str());
        let fill_app = |text: &str| fill(text, &[app]);
        let kind = key(occasion.kind);
        let letter = texts.letters.get(kind).expect("texts for the kind");
        let greeting = match occasion.name {
            Some(name) => fill(&texts.greeting, &[app, ("name", name)]),
            None => fill_app(&texts.greeting_without_name),
        };
        let paragraphs = letter.paragraphs.iter().map(|text| fill_app(text));
        let paragraphs: Vec<String> = paragraphs.chain(origin(texts, app, occasion)).collect();
        let (subject, footer) = (fill_app(&letter.subject), fill_app(&texts.footer));
        // The text of a mail that is about a code says it itself.
        let hint = (occasion.kind != Kind::SignInCode).then(|| fill_app(&texts.code));
        let button = letter.button.as_deref().map(fill_app);
        let reject = letter.reject.as_deref().map(fill_app);
        let parts = Parts {
            kind,
            language: &texts.language,
            subject: &subject,
            greeting: &greeting,
            paragraphs: &paragraphs,
            code: occasion.code.map(|digits| Code {
                hint: hint.as_deref(),
                digits,
            }),
            button: link(button.as_deref(), occasion.link.as_deref()),
            reject: link(reject.as_deref(), occasion.reject_link.as_deref()),
            footer: &footer,
            brand: &self.brand,
        };
        let html = self.layout.render(HTML, &parts)?;
        let text = self.layout.render(TEXT, &parts)?;
        Ok(Message {
            subject,
            html,
            text,
        })
    }
}

/// Returns the texts of a language with a team's own; an error names the file.
fn replaced_texts((name, built_in): (&str, &str), own: &str) -> Result<Texts, Vec<String>> {
    let named = |problem| format!("{name}: {problem}");
    Texts::replaced(built_in, own)
        .map_err(|problems: Vec<String>| problems.into_iter().map(named).collect())
}

/// Returns the line that says when and from where, if that is known.
fn origin(texts: &Texts, app: (&str, &str), occasion: &Occasion<'_>) -> Option<String> {
    let agent = user_agent::known(occasion.user_agent);
    let agent = agent.unwrap_or_else(|| fill(&texts.unknown_agent, &[app]));
    let time = occasion.at.to_string();
    let time = time.get(..16).unwrap_or(&time).replace('T', " ");
    let values = [
        app,
        ("time", time.as_str()),
        ("ip", occasion.ip),
        ("agent", agent.as_str()),
        ("account", occasion.account),
    ];
    (!occasion.ip.is_empty()).then(|| fill(&texts.origin, &values))
}

fn link<'a>(label: Option<&'a str>, link: Option<&'a str>) -> Option<Link<'a>> {
    let (label, link) = label.zip(link)?;
    Some(Link { label, link })
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
        Kind::SignInCode => "sign_in_code",
        Kind::PasskeyAdded => "passkey_added",
        Kind::PasskeyRemoved => "passkey_removed",
        Kind::PasskeyCopied => "passkey_copied",
        Kind::IdentityLinked => "identity_linked",
        Kind::IdentityUnlinked => "identity_unlinked",
        Kind::BackupCodeUsed => "backup_code_used",
        Kind::TwoFactorLocked => "two_factor_locked",
        Kind::ResetRequired => "reset_required",
        Kind::SessionUsedElsewhere => "session_used_elsewhere",
        Kind::AccountDeleted => "account_deleted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occasion(kind: Kind, name: Option<&str>, links: Option<String>) -> Occasion<'_> {
        Occasion {
            kind,
            language: Language::En,
            name,
            at: Timestamp::from_milliseconds(1_700_000_000_000),
            ip: "192.0.2.7",
            user_agent: "",
            account: "ada@example.com",
            code: None,
            link: links.clone(),
            reject_link: links,
        }
    }

    fn link() -> Option<String> {
        Some("https://app.example/page#token=0123&reject=true".to_owned())
    }

    fn message(templates: &Templates, occasion: &Occasion<'_>) -> Message {
        templates.message(occasion).unwrap()
    }

    /// Returns the templates with a folder of these files, or the problems.
    fn with_files(files: &[(&str, &str)]) -> Result<Templates, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        with_folder(folder.path())
    }

    fn with_folder(folder: &Path) -> Result<Templates, String> {
        let mut environment = Environment::of(&[
            ("ENVIRONMENT", "dev"),
            ("APP_NAME", "Gatehouse"),
            ("MAIL_TEMPLATES", folder.to_str().unwrap()),
        ]);
        let templates = Templates::from_env(&mut environment);
        let read = environment.finish(templates);
        read.map_err(|error| error.problems().join("; "))
    }

    #[test]
    fn every_kind_has_its_message_in_every_language() {
        let templates = Templates::new(Brand::of("Gatehouse"));
        assert_eq!(templates.english.letters.len(), KINDS.len());
        assert_eq!(templates.german.letters.len(), KINDS.len());
        let mut subjects = std::collections::BTreeSet::new();
        for kind in KINDS {
            for language in LANGUAGES {
                let message = message(
                    &templates,
                    &Occasion {
                        language,
                        ..occasion(kind, Some("Ada"), link())
                    },
                );

                for part in [&message.subject, &message.html, &message.text] {
                    assert!(!part.is_empty() && !part.contains('{'.to_string().repeat(2).as_str()));
                    assert!(
                        ["{app}", "{name}", "{time}", "{ip}", "{agent}", "{account}"]
                            .iter()
                            .all(|place| !part.contains(place)),
                        "{part}"
                    );
                }
                assert!(message.html.contains("Ada") && message.text.contains("Ada"));
                assert!(
                    subjects.insert(message.subject),
                    "each has a subject of its own"
                );
            }
        }
    }

    /// A notice says what to do if the event was not the reader's; only a deleted account has nothing to check.
    #[test]
    fn every_kind_but_one_has_a_button() {
        let templates = Templates::new(Brand::of("Gatehouse"));
        for kind in KINDS {
            for language in LANGUAGES {
                let message = message(
                    &templates,
                    &Occasion {
                        language,
                        reject_link: None,
                        ..occasion(kind, None, link())
                    },
                );

                let has_button = kind != Kind::AccountDeleted;
                assert_eq!(message.html.contains("class=\"button\""), has_button);
                let link = link().unwrap();
                assert_eq!(message.text.contains(&link), has_button, "{}", message.text);
            }
        }
    }

    #[test]
    fn a_name_stays_text() {
        let templates = Templates::new(Brand::of("A & B"));
        let name = "<script>alert(1)</script> {app}";

        let message = message(
            &templates,
            &occasion(Kind::PasswordChanged, Some(name), None),
        );

        assert!(!message.html.contains("<script>"), "{}", message.html);
        assert!(
            message.html.contains("&#60;script&#62;alert(1)") && message.html.contains("A &#38; B")
        );
        assert!(
            message.text.contains(name),
            "text needs no escaping: {}",
            message.text
        );
    }

    #[test]
    fn the_link_is_in_both_forms_and_whole() {
        let templates = Templates::new(Brand::of("Gatehouse"));

        let message = message(&templates, &occasion(Kind::VerifyEmail, None, link()));

        let link = link().unwrap();
        assert_eq!(message.text.matches(&link).count(), 2, "{}", message.text);
        assert!(
            message.html.contains(&link.replace('&', "&#38;")),
            "{}",
            message.html
        );
    }

    #[test]
    fn a_message_says_when_and_from_where_and_no_word_of_a_stranger() {
        let templates = Templates::new(Brand::of("Gatehouse"));
        let firefox =
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:141.0) Gecko/20100101 Firefox/141.0";
        for (user_agent, told) in [
            (firefox, "Firefox, Windows"),
            ("win at https://evil.example now", "an unknown program"),
        ] {
            let message = message(
                &templates,
                &Occasion {
                    user_agent,
                    ..occasion(Kind::VerifyEmail, None, link())
                },
            );

            let client = format!("2023-11-14 22:13 UTC, from 192.0.2.7 ({told})");
            assert!(message.text.contains(&client), "{}", message.text);
            assert!(message.html.contains(&client) && !message.html.contains("evil"));
        }
    }

    #[test]
    fn a_folder_with_one_template_replaces_this_one() {
        let own = "{{ kind }}: {{ subject }} {% if button %}{{ button.link }}{% endif %}";

        let replaced = with_files(&[("message.txt", own), ("README.md", "")]).unwrap();

        let built_in = Templates::new(Brand::of("Gatehouse"));
        let occasion = occasion(Kind::VerifyEmail, Some("Ada"), link());
        let (mail, before) = (message(&replaced, &occasion), message(&built_in, &occasion));
        let text = format!("verify_email: {} {}", before.subject, link().unwrap());
        assert_eq!(mail.text, text);
        assert_eq!((mail.subject, mail.html), (before.subject, before.html));
    }

    #[test]
    fn a_folder_with_some_texts_replaces_these() {
        let own = r#"{ "greeting": "Moin {name}!", "letters": { "verify_email": { "button": "Los, {app}" } } }"#;
        let replaced = with_files(&[("de.json", own)]).unwrap();
        let verify = || occasion(Kind::VerifyEmail, Some("Ada"), link());

        let german = Occasion {
            language: Language::De,
            ..verify()
        };
        let german = message(&replaced, &german);
        let english = message(&replaced, &verify());

        assert!(german.text.starts_with("Moin Ada!\n"), "{}", german.text);
        assert!(german.html.contains("Los, Gatehouse"), "{}", german.html);
        assert!(german.subject.starts_with("Bestätigen Sie"));
        let built_in = Templates::new(Brand::of("Gatehouse"));
        assert_eq!(english.text, message(&built_in, &verify()).text);
    }

    #[test]
    fn a_name_stays_text_in_a_template_of_ones_own() {
        let own = "{{ greeting }} {% autoescape false %}{{ greeting }}{% endautoescape %} {{ greeting|escape }}";
        let replaced = with_files(&[("message.html", own)]).unwrap();
        let name = "<script>alert(1)</script>";

        let mail = message(&replaced, &occasion(Kind::NewDevice, Some(name), None));

        assert!(!mail.html.contains('<'), "{}", mail.html);
        assert_eq!(mail.html.matches("script").count(), 6, "{}", mail.html);
        let problem = with_files(&[("message.html", "{{ greeting|safe }}")]).err();
        assert!(problem.unwrap().contains("filter safe is unknown"));
    }

    #[test]
    fn files_with_a_problem_are_refused() {
        for (name, content, problem) in [
            (
                "message.txt",
                "\n{{ codee }}",
                "message.txt: line 2: undefined value, `codee` is undefined",
            ),
            (
                "message.html",
                "\n{% if codee %}{% endif %}",
                "message.html: line 2: undefined value",
            ),
            (
                "message.html",
                "{{ button.label }}",
                "message.html: line 1: undefined value",
            ),
            (
                "message.html",
                "{{ brand.logo }}",
                "this mail lacks the value",
            ),
            (
                "message.txt",
                "{% if code %}",
                "message.txt: line 1: syntax error",
            ),
            (
                "message.txt",
                "{% include 'message.html' %}",
                "message.txt: line 1: syntax error",
            ),
            ("de.json", "{", "de.json: EOF while parsing an object"),
            (
                "en.json",
                r#"{ "letters": { "welcome": {} } }"#,
                "en.json: letters.welcome is unknown",
            ),
            (
                "en.json",
                r#"{ "footer": "{ap}" }"#,
                "en.json: footer has the unknown placeholder {ap}",
            ),
            (
                "fr.json",
                "{}",
                "fr.json: the folder may hold message.html, message.txt, en.json, de.json",
            ),
            ("README.md", "", "the folder holds none of message.html"),
        ] {
            let problems = with_files(&[(name, content)]).err().unwrap_or_default();
            assert!(
                problems.starts_with("MAIL_TEMPLATES: "),
                "{content}: {problems}"
            );
            assert!(problems.contains(problem), "{content}: {problems}");
        }
        let all = with_files(&[("de.json", "["), ("message.txt", "{%")])
            .err()
            .unwrap();
        assert!(
            all.contains("de.json: ") && all.contains("message.txt: "),
            "{all}"
        );
    }

    #[test]
    fn a_folder_or_a_file_that_cannot_be_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let missing = with_folder(&folder.path().join("nothing")).err().unwrap();
        std::fs::create_dir(folder.path().join("message.txt")).unwrap();
        let directory = with_folder(folder.path()).err().unwrap();
        std::fs::remove_dir(folder.path().join("message.txt")).unwrap();
        std::fs::write(folder.path().join("de.json"), b"\xff").unwrap();
        let latin = with_folder(folder.path()).err().unwrap();

        assert!(
            missing.contains("MAIL_TEMPLATES: the folder cannot be read: "),
            "{missing}"
        );
        assert!(
            directory.contains("MAIL_TEMPLATES: message.txt: "),
            "{directory}"
        );
        assert!(latin.contains("MAIL_TEMPLATES: de.json: "), "{latin}");
    }
}
