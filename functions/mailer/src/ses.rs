//! Hands mails over to SES v2.

use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::error::ProvideErrorMetadata;
use aws_sdk_sesv2::operation::send_email::SendEmailError;
use aws_sdk_sesv2::types::{Body, Content, Destination, EmailContent, Message};

use crate::letter::Letter;
use crate::sender::Refusal;

/// SES, as the owner of one address.
pub struct Ses {
    client: Client,
    from: String,
    configuration_set: Option<String>,
}

impl Ses {
    /// With this configuration set.
    pub fn new(client: Client, from: String, configuration_set: Option<String>) -> Self {
        Self {
            client,
            from,
            configuration_set,
        }
    }

    /// Sends a letter.
    ///
    /// # Errors
    /// Whether it was refused for now or for ever.
    pub async fn send(&self, to: &str, letter: &Letter) -> Result<(), Refusal> {
        let body = Body::builder()
            .text(content(&letter.text))
            .html(content(&letter.html))
            .build();
        let message = Message::builder()
            .subject(content(&letter.subject))
            .body(body)
            .build();
        let request = self
            .client
            .send_email()
            .from_email_address(&self.from)
            .destination(Destination::builder().to_addresses(to).build())
            .content(EmailContent::builder().simple(message).build())
            .set_configuration_set_name(self.configuration_set.clone());
        let Err(error) = request.send().await else {
            return Ok(());
        };
        // Without an answer nobody knows whether it was sent: then once more, the same to the letter.
        let status = error.raw_response().map(|response| response.status());
        let status = status.map_or("no answer".to_owned(), |status| status.to_string());
        let code = error.code().map_or(status, str::to_owned);
        Err(match error.as_service_error() {
            // A matter of setting up, for all mails alike: they wait for it.
            Some(SendEmailError::MessageRejected(rejected))
                if self.is_unverified(rejected.message()) =>
            {
                tracing::error!(
                    "SES has not verified the sender EMAIL_FROM: mails wait until it has"
                );
                Refusal::Passing("SenderNotVerified".to_owned())
            }
            // The address, or what is in the mail.
            Some(SendEmailError::MessageRejected(_) | SendEmailError::BadRequestException(_)) => {
                Refusal::Final(code)
            }
            _ => Refusal::Passing(code),
        })
    }

    /// SES has one code for what is wrong with a mail and for what is not set up; the text tells them apart
    /// and names the addresses (SES developer guide, "Amazon SES email sending errors"). In its sandbox it
    /// names recipients, too; those are no reason to wait.
    fn is_unverified(&self, message: Option<&str>) -> bool {
        let address = self.from.rsplit('<').next().unwrap_or_default();
        let address = address.trim_end_matches('>').to_lowercase();
        message.is_some_and(|message| {
            message.contains("not verified") && message.to_lowercase().contains(&address)
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
