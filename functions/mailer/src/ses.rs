//! Hands mails over to SES v2.

use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::error::ProvideErrorMetadata;
use aws_sdk_sesv2::operation::send_email::SendEmailError;
use aws_sdk_sesv2::types::{self, Body, Content, Destination, EmailContent, MessageHeader};
use lettre::message::header::{self, Headers};
use lettre::message::{Mailbox, Mailboxes};

use crate::delivery::{HEADERS, Refusal};
use crate::message::Message;

/// The SES client with its sender.
pub struct Ses {
    client: Client,
    /// The sender as it appears in the mail.
    from: String,
    address: String,
    reply_to: Option<String>,
    configuration_set: Option<String>,
}

impl Ses {
    /// Creates a sender with this configuration set. Without a mailbox the configuration is invalid, and nothing is
    /// ever sent.
    pub fn new(
        client: Client,
        from: Option<Mailbox>,
        reply_to: Option<Mailbox>,
        configuration_set: Option<String>,
    ) -> Self {
        let address = from.as_ref().map(|from| from.email.to_string());
        Self {
            client,
            from: from.map(encoded).unwrap_or_default(),
            address: address.unwrap_or_default().to_lowercase(),
            reply_to: reply_to.map(encoded),
            configuration_set,
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`Refusal::Final`] if SES refuses this mail for ever, [`Refusal::Outage`] if it takes no mail now.
    pub async fn send(&self, to: &str, message: &Message) -> Result<(), Refusal> {
        let body = Body::builder()
            .text(content(&message.text))
            .html(content(&message.html))
            .build();
        let content_of_mail = types::Message::builder()
            .subject(content(&message.subject))
            .body(body)
            .set_headers(Some(HEADERS.map(header).into()))
            .build();
        let request = self
            .client
            .send_email()
            .from_email_address(&self.from)
            .set_reply_to_addresses(self.reply_to.clone().map(|address| vec![address]))
            .destination(Destination::builder().to_addresses(to).build())
            .content(EmailContent::builder().simple(content_of_mail).build())
            .set_configuration_set_name(self.configuration_set.clone());
        let Err(error) = request.send().await else {
            return Ok(());
        };
        // Without an answer it is unknown whether the mail was sent: it is sent again, the same byte by byte.
        let status = error.raw_response().map(|response| response.status());
        let status = status.map_or("no answer".to_owned(), |status| status.to_string());
        let code = error.code().map_or(status, str::to_owned);
        Err(match error.as_service_error() {
            // Missing setup concerns all mails alike: they wait for it.
            Some(SendEmailError::MessageRejected(rejected))
                if self.is_unverified(rejected.message()) =>
            {
                tracing::error!(
                    "SES has not verified the sender EMAIL_FROM: mails wait until it has"
                );
                Refusal::Outage("SenderNotVerified".to_owned())
            }
            // The address or the content is refused.
            Some(SendEmailError::MessageRejected(_) | SendEmailError::BadRequestException(_)) => {
                Refusal::Final(code)
            }
            _ => Refusal::Outage(code),
        })
    }

    /// Whether the sender is not verified. SES has one code for a faulty mail and for missing setup; only the text,
    /// which names the addresses, tells them apart (SES developer guide, "Amazon SES email sending errors"). In its
    /// sandbox SES names recipients, too; those are no reason to wait.
    fn is_unverified(&self, message: Option<&str>) -> bool {
        message.is_some_and(|message| {
            message.contains("not verified") && message.to_lowercase().contains(&self.address)
        })
    }
}

#[expect(
    clippy::expect_used,
    reason = "the text is all that the builder asks for"
)]
fn content(text: &str) -> Content {
    let content = Content::builder().data(text).charset("UTF-8").build();
    content.expect("a content has its text")
}

#[expect(clippy::expect_used, reason = "both are given")]
fn header((name, value): (&str, &str)) -> MessageHeader {
    let header = MessageHeader::builder().name(name).value(value).build();
    header.expect("a header has its name and value")
}

/// Formats a sender for a header, with its name in encoded words (RFC 2047): SES passes the text on as it is.
fn encoded(mailbox: Mailbox) -> String {
    let mut headers = Headers::new();
    headers.set(header::From::from(Mailboxes::from(mailbox)));
    let line = headers.to_string();
    let value = line.trim_start_matches("From:").replace("\r\n", ""); // the folded line begins with a space
    value.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_senders_name_is_encoded_where_it_must_be() {
        for (typed, sent) in [
            ("no-reply@example.com", "no-reply@example.com"),
            ("Gatehouse <a@example.com>", "Gatehouse <a@example.com>"),
            (
                "\"A, B\" <a@example.com>",
                "=?utf-8?b?QSwgQg==?= <a@example.com>",
            ),
            (
                "Grüße <a@example.com>",
                "=?utf-8?b?R3LDvMOfZQ==?= <a@example.com>",
            ),
        ] {
            assert_eq!(encoded(typed.parse().unwrap()), sent);
        }
        let long = encoded(
            format!("{} <a@example.com>", "Ü".repeat(80))
                .parse()
                .unwrap(),
        );
        assert!(long.is_ascii() && !long.contains(['\r', '\n']), "{long}");
        assert!(long.split(' ').all(|word| word.len() <= 75), "{long}");
    }
}
