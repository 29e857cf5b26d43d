//! Hands mails over to another server than SES (RFC 5321), never without TLS.

use std::time::{Duration, SystemTime};

use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use shared::config::Environment;
use url::Url;

use crate::letter::Letter;
use crate::sender::{Envelope, Refusal, TIMEOUT};

/// Answers that a further try would get again: about the address or about what is in the mail
/// (RFC 5321, 4.2.3). A refused password is not among them: that is for the operator to mend, and the
/// mail waits.
const FINAL_CODES: [u16; 5] = [550, 551, 552, 553, 554];

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// Another server than SES.
pub struct Smtp {
    transport: Transport,
    from: Mailbox,
}

impl Smtp {
    /// From `SMTP_URL`, if it is set: `smtps:` speaks TLS from the first byte (RFC 8314), `smtp:`
    /// insists on STARTTLS (RFC 3207). `SMTP_CA` is trusted beside the public authorities.
    pub fn from_env(environment: &mut Environment, from: Option<Mailbox>) -> Option<Self> {
        let ca = environment.optional("SMTP_CA", "certificates in PEM", parse_certificates);
        let form = "smtps://user:password@host or smtp://user:password@host";
        let transport = environment.optional("SMTP_URL", form, |url| transport(url, ca.clone()))?;
        let from = from?; // what is wrong with it, is noted
        Some(Self { transport, from })
    }

    /// Sends a letter. Each try at it is the same to the letter, its `Message-ID` included, by which
    /// mail programs know a second copy.
    ///
    /// # Errors
    /// Whether it was refused for now or for ever.
    pub async fn send(&self, envelope: &Envelope<'_>, letter: &Letter) -> Result<(), Refusal> {
        let message = self.message(envelope, letter);
        let message = message.map_err(|_| Refusal::Final("invalid address".to_owned()))?;
        // A connection of its own: one that is kept would be dead after a freeze.
        let sending = tokio::time::timeout(TIMEOUT, self.transport.send(message));
        let Ok(answer) = sending.await else {
            return Err(Refusal::Passing("no answer".to_owned()));
        };
        let Err(error) = answer else {
            return Ok(());
        };
        Err(match error.status().map(u16::from) {
            Some(code) if FINAL_CODES.contains(&code) => Refusal::Final(code.to_string()),
            Some(code) => Refusal::Passing(code.to_string()),
            // About the connection: a server's own words, which may hold the address, come with a code.
            None => Refusal::Passing(error.to_string()),
        })
    }

    fn message(
        &self,
        envelope: &Envelope<'_>,
        letter: &Letter,
    ) -> Result<Message, Box<dyn std::error::Error>> {
        let milliseconds = u64::try_from(envelope.created_at.milliseconds())?;
        let domain = self.from.email.domain();
        let body = MultiPart::alternative()
            .boundary(format!("={}=", envelope.id))
            .singlepart(SinglePart::plain(letter.text.clone()))
            .singlepart(SinglePart::html(letter.html.clone()));
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, envelope.to.parse()?))
            .subject(&letter.subject)
            .date(SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds))
            .message_id(Some(format!("<{}@{domain}>", envelope.id)))
            .multipart(body)?;
        Ok(message)
    }
}

fn parse_certificates(pem: &str) -> Option<Certificate> {
    // Without one in it, the text would be taken for no certificates at all.
    let has_one = pem.contains("-----BEGIN CERTIFICATE-----");
    let certificates = Certificate::from_pem(pem.as_bytes()).ok();
    certificates.filter(|_| has_one)
}

fn transport(url: &str, ca: Option<Certificate>) -> Option<Transport> {
    let mut url = Url::parse(url).ok()?;
    let mut parameters = TlsParameters::builder(url.host_str()?.to_owned());
    if let Some(ca) = ca {
        parameters = parameters.add_root_certificate(ca);
    }
    let parameters = parameters.build_rustls().ok()?;
    let tls = match url.scheme() {
        "smtps" => Tls::Wrapper(parameters),
        "smtp" => Tls::Required(parameters),
        _ => return None,
    };
    // The crate's own way to ask for STARTTLS; whatever else stood there could ask for less.
    let query = (url.scheme() == "smtp").then_some("tls=required");
    url.set_query(query);
    let builder = Transport::from_url(url.as_str()).ok()?;
    Some(builder.tls(tls).timeout(Some(TIMEOUT)).build())
}
