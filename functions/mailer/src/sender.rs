//! Hands mails over: to SES, or to the server that `SMTP_URL` names.

use std::time::Duration;

use lettre::message::Mailbox;
use shared::config::Environment;
use shared::domain::timestamp::Timestamp;

use crate::letter::Letter;
use crate::ses::Ses;
use crate::smtp::Smtp;

/// How long one try may take: less than an entry of the outbox is leased for.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends mails from one address.
pub enum Sender {
    /// Through SES.
    Ses(Box<Ses>),
    /// Through another server.
    Smtp(Box<Smtp>),
}

/// Which mail it is, and whose; the same for every try at it.
pub struct Envelope<'a> {
    /// The entry's in the outbox.
    pub id: &'a str,
    /// The address.
    pub to: &'a str,
    /// When its cause happened.
    pub created_at: Timestamp,
}

/// Why a mail was not taken.
pub enum Refusal {
    /// It never will be: the code says why.
    Final(String),
    /// Another try may succeed.
    Passing(String),
}

impl Refusal {
    /// What the mail server said, in a word.
    pub fn code(&self) -> &str {
        match self {
            Self::Final(code) | Self::Passing(code) => code,
        }
    }
}

impl Sender {
    /// As the variables say.
    pub fn from_env(environment: &mut Environment) -> Self {
        let from = environment.text("EMAIL_FROM");
        let mailbox: Option<Mailbox> =
            environment.optional("EMAIL_FROM", "an address", |text| text.parse().ok());
        let configuration_set = environment.optional_name("EMAIL_CONFIGURATION_SET");
        match Smtp::from_env(environment, mailbox) {
            Some(smtp) => Self::Smtp(Box::new(smtp)),
            None => {
                let ses = Ses::new(environment.ses(TIMEOUT), from, configuration_set);
                Self::Ses(Box::new(ses))
            }
        }
    }

    /// Sends a letter.
    ///
    /// # Errors
    /// Whether it was refused for now or for ever.
    pub async fn send(&self, envelope: &Envelope<'_>, letter: &Letter) -> Result<(), Refusal> {
        match self {
            Self::Ses(ses) => ses.send(envelope.to, letter).await,
            Self::Smtp(smtp) => smtp.send(envelope, letter).await,
        }
    }
}
