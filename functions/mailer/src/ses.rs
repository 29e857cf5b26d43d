//! Hands mails over to SES v2.

use serde_json::{Value, json};
use shared::aws::{self, Api, Failure, Patience, Service};

use crate::letter::Letter;
use crate::sender::{Refusal, TIMEOUT};

const API: Api = Api {
    host: "email",
    name: "ses",
    path: "/v2/email/outbound-emails",
    content_type: "application/json",
    patience: Patience {
        tries: 1, // the stream tries again
        one: TIMEOUT,
        all: TIMEOUT,
    },
};

/// SES, as the owner of one address.
pub struct Ses {
    service: Service,
    from: String,
    configuration_set: Option<String>,
}

impl Ses {
    /// With this configuration set.
    pub fn new(config: aws::Config, from: String, configuration_set: Option<String>) -> Self {
        Self {
            service: Service::new(config, API),
            from,
            configuration_set,
        }
    }

    /// Sends a letter.
    ///
    /// # Errors
    /// Whether it was refused for now or for ever.
    pub async fn send(&self, to: &str, letter: &Letter) -> Result<(), Refusal> {
        let mut email = json!({
            "FromEmailAddress": self.from,
            "Destination": { "ToAddresses": [to] },
            "Content": { "Simple": {
                "Subject": content(&letter.subject),
                "Body": { "Text": content(&letter.text), "Html": content(&letter.html) },
            } },
        });
        if let Some(set) = &self.configuration_set {
            email["ConfigurationSetName"] = json!(set);
        }
        let (code, message) = match self.service.post(None, email.to_string().into()).await {
            Ok(_) => return Ok(()),
            Err(Failure::Refused(refusal)) => (refusal.code, refusal.message),
            // Nobody knows whether it was sent: then once more, the same to the letter.
            Err(Failure::NoAnswer(what)) => return Err(Refusal::Passing(what.to_owned())),
        };
        Err(match code.as_str() {
            // A matter of setting up, for all mails alike: they wait for it.
            "MessageRejected" if self.is_unverified(&message) => {
                tracing::error!(
                    "SES has not verified the sender EMAIL_FROM: mails wait until it has"
                );
                Refusal::Passing("SenderNotVerified".to_owned())
            }
            // The address, or what is in the mail.
            "MessageRejected" | "BadRequestException" => Refusal::Final(code),
            _ => Refusal::Passing(code),
        })
    }

    /// SES has one code for what is wrong with a mail and for what is not set up; the text tells them apart
    /// and names the addresses (SES developer guide, "Amazon SES email sending errors"). In its sandbox it
    /// names recipients, too; those are no reason to wait.
    fn is_unverified(&self, message: &str) -> bool {
        let address = self.from.rsplit('<').next().unwrap_or_default();
        let address = address.trim_end_matches('>').to_lowercase();
        message.contains("not verified") && message.to_lowercase().contains(&address)
    }
}

fn content(text: &str) -> Value {
    json!({ "Data": text, "Charset": "UTF-8" })
}
