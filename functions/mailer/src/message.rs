//! The texts of the mails: one file of texts per language, one template for HTML, one for plain text.

use std::collections::BTreeMap;

use askama::Template;
use serde::Deserialize;
use shared::domain::language::Language;
use shared::domain::timestamp::Timestamp;
use shared::store::outbox::Kind;

use crate::brand::Brand;

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

/// The templates of all messages, with their look.
pub struct Templates {
    brand: Brand,
    english: Texts,
    german: Texts,
}

/// A file of texts. `{app}` and `{name}` are placeholders for the application's and the reader's name; in `origin`,
/// `{time}`, `{ip}`, `{agent}` and `{account}` say when, from where, and whose account.
#[derive(Deserialize)]
struct Texts {
    language: String,
    greeting: String,
    greeting_without_name: String,
    footer: String,
    origin: String,
    code: String,
    unknown_agent: String,
    letters: BTreeMap<String, MessageTexts>,
}

#[derive(Deserialize)]
struct MessageTexts {
    subject: String,
    paragraphs: Vec<String>,
    button: Option<String>,
    reject: Option<String>,
}

#[derive(Template)]
#[template(path = "message.html")]
struct Html<'a>(Parts<'a>);

#[derive(Template)]
#[template(path = "message.txt", escape = "none")]
struct Text<'a>(Parts<'a>);

#[derive(Clone)]
struct Parts<'a> {
    language: &'a str,
    subject: &'a str,
    greeting: &'a str,
    paragraphs: &'a [String],
    code: Option<(Option<&'a str>, &'a str)>,
    button: Option<(&'a str, &'a str)>,
    reject: Option<(&'a str, &'a str)>,
    footer: &'a str,
    brand: &'a Brand,
}

impl Templates {
    /// Reads the texts for an application.
    pub fn new(brand: Brand) -> Self {
        Self {
            brand,
            english: texts(include_str!("../texts/en.json")),
            german: texts(include_str!("../texts/de.json")),
        }
    }

    /// Renders the message about an occasion.
    #[expect(
        clippy::expect_used,
        reason = "each kind has its texts, as a test shows"
    )]
    pub fn message(&self, occasion: &Occasion<'_>) -> Message {
        let texts = match occasion.language {
            Language::En => &self.english,
            Language::De => &self.german,
        };
        let fill = |text: &str| text.replace("{app}", &self.brand.application);
        let message = texts
            .letters
            .get(key(occasion.kind))
            .expect("texts for the kind");
        let greeting = match occasion.name {
            // The name is filled in last: placeholders in it stay as they are.
            Some(name) => fill(&texts.greeting).replace("{name}", name),
            None => fill(&texts.greeting_without_name),
        };
        let mut paragraphs: Vec<String> =
            message.paragraphs.iter().map(|text| fill(text)).collect();
        if !occasion.ip.is_empty() {
            let agent = agent(occasion.user_agent).unwrap_or_else(|| texts.unknown_agent.clone());
            let time = occasion.at.to_string();
            let time = time.get(..16).unwrap_or(&time).replace('T', " ");
            let client = texts.origin.replace("{time}", &time);
            let client = client
                .replace("{ip}", occasion.ip)
                .replace("{agent}", &agent)
                .replace("{account}", occasion.account);
            paragraphs.push(client);
        }
        // The text of a mail that is about a code says it itself.
        let hint = (occasion.kind != Kind::SignInCode).then_some(texts.code.as_str());
        let subject = fill(&message.subject);
        let footer = fill(&texts.footer);
        let parts = Parts {
            language: &texts.language,
            subject: &subject,
            greeting: &greeting,
            paragraphs: &paragraphs,
            code: occasion.code.map(|code| (hint, code)),
            button: message.button.as_deref().zip(occasion.link.as_deref()),
            reject: message
                .reject
                .as_deref()
                .zip(occasion.reject_link.as_deref()),
            footer: &footer,
            brand: &self.brand,
        };
        let html = Html(parts.clone()).render().expect("the template renders");
        let text = Text(parts).render().expect("the template renders");
        Message {
            subject,
            html,
            text,
        }
    }
}

/// Returns the known browser and system that a user agent names. The rest of the text is not quoted: a stranger
/// controls it, and the mail may go to somebody who does not know that stranger.
fn agent(user_agent: &str) -> Option<String> {
    // The order matters: most user agents name other browsers as well.
    const BROWSERS: [(&str, &str); 5] = [
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    const SYSTEMS: [(&str, &str); 6] = [
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ];
    let known = |names: &[(&str, &'static str)]| {
        let mut names = names.iter();
        names
            .find(|(token, _)| user_agent.contains(token))
            .map(|(_, name)| *name)
    };
    match (known(&BROWSERS), known(&SYSTEMS)) {
        (Some(browser), Some(system)) => Some(format!("{browser}, {system}")),
        (browser, system) => browser.or(system).map(str::to_owned),
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

    #[test]
    fn every_kind_has_its_message_in_every_language() {
        let templates = Templates::new(Brand::of("Gatehouse"));
        let mut subjects = std::collections::BTreeSet::new();
        for kind in KINDS {
            for language in [Language::En, Language::De] {
                let message = templates.message(&Occasion {
                    language,
                    ..occasion(kind, Some("Ada"), link())
                });

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

    #[test]
    fn a_name_stays_text() {
        let templates = Templates::new(Brand::of("A & B"));
        let name = "<script>alert(1)</script> {app}";

        let message = templates.message(&occasion(Kind::PasswordChanged, Some(name), None));

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

        let message = templates.message(&occasion(Kind::VerifyEmail, None, link()));

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
            let message = templates.message(&Occasion {
                user_agent,
                ..occasion(Kind::VerifyEmail, None, link())
            });

            let client = format!("2023-11-14 22:13 UTC, from 192.0.2.7 ({told})");
            assert!(message.text.contains(&client), "{}", message.text);
            assert!(message.html.contains(&client) && !message.html.contains("evil"));
        }
    }
}
