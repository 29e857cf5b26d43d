//! Hands mails over to SES, or to the server that `SMTP_URL` names.

use lettre::Address;
use lettre::message::Mailbox;
use shared::aws;
use shared::config::Environment;
use shared::domain::email_address::EmailAddress;
use shared::domain::rule::Parse;

use crate::delivery::{Envelope, Refusal, TIMEOUT};
use crate::message::Message;
use crate::ses::Ses;
use crate::smtp::Smtp;

/// Sends mails from one address.
pub enum Sender {
    /// Through SES.
    Ses(Box<Ses>),
    /// Through another server.
    Smtp(Box<Smtp>),
}

impl Sender {
    /// Reads `EMAIL_FROM`, `EMAIL_REPLY_TO`, `EMAIL_CONFIGURATION_SET` and the variables of the server.
    pub fn from_env(environment: &mut Environment) -> Self {
        environment.text("EMAIL_FROM"); // required
        let mailbox = environment.optional("EMAIL_FROM", "an address", parse_mailbox);
        let configuration_set = environment.optional_name("EMAIL_CONFIGURATION_SET");
        let reply_to = environment.optional("EMAIL_REPLY_TO", "an address", parse_mailbox);
        match Smtp::from_env(environment, mailbox.clone(), reply_to.clone()) {
            Some(smtp) => Self::Smtp(Box::new(smtp)),
            None => {
                let client = aws::ses(environment, TIMEOUT);
                let ses = Ses::new(client, mailbox, reply_to, configuration_set);
                Self::Ses(Box::new(ses))
            }
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`Refusal::Final`] if the mail was refused for ever, else [`Refusal::Deferred`] or [`Refusal::Outage`].
    pub async fn send(&self, envelope: &Envelope<'_>, message: &Message) -> Result<(), Refusal> {
        match self {
            Self::Ses(ses) => ses.send(envelope.to, message).await,
            Self::Smtp(smtp) => smtp.send(envelope, message).await,
        }
    }
}

/// Parses `ada@example.com` or `Ada <ada@example.com>`; converts the domain to the ASCII form that every server knows.
fn parse_mailbox(text: &str) -> Option<Mailbox> {
    let mailbox: Mailbox = text.parse().ok()?;
    let typed: &str = mailbox.email.as_ref();
    if typed.is_ascii() {
        return Some(mailbox); // unchanged: the function's role allows only this sender
    }
    let address = EmailAddress::parse(typed).ok()?;
    let address: Address = address.mailbox().parse().ok()?;
    Some(Mailbox::new(mailbox.name, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_by_example() {
        for (typed, name, address) in [
            ("a@Example.com", None, "a@Example.com"),
            (
                "Gatehouse <a@example.com>",
                Some("Gatehouse"),
                "a@example.com",
            ),
            (
                "\"Grüße, B\" <a@example.com>",
                Some("Grüße, B"),
                "a@example.com",
            ),
            (
                "Grüße <a@bücher.example>",
                Some("Grüße"),
                "a@xn--bcher-kva.example",
            ),
        ] {
            let mailbox = parse_mailbox(typed).unwrap();
            assert_eq!(mailbox.name.as_deref(), name);
            assert_eq!(mailbox.email.to_string(), address);
        }
        for bad in [
            "",
            "Gatehouse",
            "Gatehouse <a>",
            "é@bücher.example",
            "a..b@example.com",
        ] {
            assert!(parse_mailbox(bad).is_none(), "{bad}");
        }
    }
}
