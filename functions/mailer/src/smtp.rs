//! Hands mails over to a server other than SES (RFC 5321), never without TLS.
//!
//! The steps are separate because the step decides what a refusal is about. Up to MAIL FROM it is about the server and
//! the sender: all mails wait. From RCPT TO on it is about this mail alone, which must not hold up the others.

use std::time::{Duration, SystemTime};

use lettre::Address;
use lettre::address::Envelope as Addresses;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{Error, SUBMISSION_PORT, SUBMISSIONS_PORT};
use percent_encoding::percent_decode_str;
use shared::config::Environment;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::delivery::{Envelope, HEADERS, Refusal, TIMEOUT};
use crate::message::Message;

/// A mail server other than SES.
pub struct Smtp {
    server: Server,
    from: Mailbox,
    reply_to: Option<Mailbox>,
}

/// A server and how to connect to it.
struct Server {
    host: String,
    port: u16,
    tls: TlsParameters,
    /// TLS from the first byte, instead of STARTTLS.
    is_implicit_tls: bool,
    credentials: Option<Credentials>,
}

impl Smtp {
    /// Reads `SMTP_URL`, if it is set: `smtps:` uses TLS from the first byte (RFC 8314), `smtp:` insists on STARTTLS
    /// (RFC 3207). The certificates in `SMTP_CA` are trusted in addition to the public authorities.
    pub fn from_env(
        environment: &mut Environment,
        from: Option<Mailbox>,
        reply_to: Option<Mailbox>,
    ) -> Option<Self> {
        let ca = environment.optional("SMTP_CA", "certificates in PEM", parse_certificates);
        let form = "smtps://user:password@host or smtp://user:password@host";
        let server = environment.optional("SMTP_URL", form, |url| server(url, ca.clone()))?;
        let from = from?; // the problem has been recorded
        Some(Self {
            server,
            from,
            reply_to,
        })
    }

    /// Sends a mail. Every try is the same byte by byte, including its `Message-ID`, by which mail programs recognise a
    /// second copy.
    ///
    /// # Errors
    /// [`Refusal::Final`] if this mail was refused for ever, [`Refusal::Deferred`] if it was refused for now,
    /// [`Refusal::Outage`] if the server takes no mail now.
    pub async fn send(&self, envelope: &Envelope<'_>, mail: &Message) -> Result<(), Refusal> {
        let message = self.message(envelope, mail);
        let message = message.map_err(|_| Refusal::Final("InvalidAddress".to_owned()))?;
        let addresses = message.envelope();
        let end = Instant::now() + TIMEOUT;
        // A new connection for each mail: a kept connection would be dead after the environment was frozen.
        let connecting = timeout_at(end, self.server.connect(addresses.from()));
        let mut connection = match connecting.await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(Refusal::Outage(code(&error))),
            Err(_) => return Err(Refusal::Outage("no answer".to_owned())),
        };
        let content = message.formatted();
        let handing_over = hand_over(&mut connection, addresses, &content);
        let answer = timeout_at(end, handing_over).await;
        // The mail is sent or refused by now; the outcome of QUIT does not matter.
        let _ = timeout_at(end, connection.quit()).await;
        match answer {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.is_permanent() => Err(Refusal::Final(code(&error))),
            Ok(Err(error)) => Err(Refusal::Deferred(code(&error))),
            Err(_) => Err(Refusal::Deferred("no answer".to_owned())),
        }
    }

    fn message(
        &self,
        envelope: &Envelope<'_>,
        mail: &Message,
    ) -> Result<lettre::Message, Box<dyn std::error::Error>> {
        let milliseconds = u64::try_from(envelope.created_at.milliseconds())?;
        let domain = self.from.email.domain();
        let body = MultiPart::alternative()
            .boundary(format!("={}=", envelope.id))
            .singlepart(SinglePart::plain(mail.text.clone()))
            .singlepart(SinglePart::html(mail.html.clone()));
        let mut message = lettre::Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, envelope.to.parse()?))
            .subject(&mail.subject)
            .date(SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds))
            .message_id(Some(format!("<{}@{domain}>", envelope.id)));
        if let Some(reply_to) = &self.reply_to {
            message = message.reply_to(reply_to.clone());
        }
        for (name, value) in HEADERS {
            let name = HeaderName::new_from_ascii_str(name);
            message = message.raw_header(HeaderValue::new(name, value.to_owned()));
        }
        Ok(message.multipart(body)?)
    }
}

impl Server {
    /// Connects, authenticates, and announces the sender (MAIL FROM).
    async fn connect(&self, from: Option<&Address>) -> Result<AsyncSmtpConnection, Error> {
        let name = ClientId::default();
        let server = (self.host.as_str(), self.port);
        let tls = self.is_implicit_tls.then(|| self.tls.clone());
        let connecting =
            AsyncSmtpConnection::connect_tokio1(server, Some(TIMEOUT), &name, tls, None);
        let mut connection = connecting.await?;
        if !self.is_implicit_tls {
            connection.starttls(self.tls.clone(), &name).await?; // fails if it is not offered
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        connection.command(Mail::new(from.cloned(), vec![])).await?;
        Ok(connection)
    }
}

/// Sends the commands that concern one mail.
async fn hand_over(
    connection: &mut AsyncSmtpConnection,
    addresses: &Addresses,
    content: &[u8],
) -> Result<(), Error> {
    for address in addresses.to() {
        connection
            .command(Rcpt::new(address.clone(), vec![]))
            .await?;
    }
    connection.command(Data).await?;
    connection.message(content).await?;
    Ok(())
}

/// Returns the number of an answer; its text may contain the address. An error without a number is about the
/// connection.
fn code(error: &Error) -> String {
    let number = error.status().map(u16::from);
    number.map_or_else(|| error.to_string(), |number| number.to_string())
}

fn parse_certificates(pem: &str) -> Option<Certificate> {
    // A text without a certificate would be parsed as an empty list.
    let has_one = pem.contains("-----BEGIN CERTIFICATE-----");
    let certificates = Certificate::from_pem(pem.as_bytes()).ok();
    certificates.filter(|_| has_one)
}

fn server(url: &str, ca: Option<Certificate>) -> Option<Server> {
    let url = Url::parse(url).ok()?;
    let (is_implicit_tls, port) = match url.scheme() {
        "smtps" => (true, SUBMISSIONS_PORT),
        "smtp" => (false, SUBMISSION_PORT),
        _ => return None,
    };
    let host = url.host_str()?.trim_matches(['[', ']']).to_owned(); // IPv6 without brackets
    let mut tls = TlsParameters::builder(host.clone());
    if let Some(ca) = ca {
        tls = tls.add_root_certificate(ca);
    }
    let decoded = |text| {
        let text = percent_decode_str(text).decode_utf8().ok()?;
        Some(text.into_owned())
    };
    let credentials = match (url.username(), url.password()) {
        ("", None) => None,
        (user, password) => Some(Credentials::new(
            decoded(user)?,
            decoded(password.unwrap_or_default())?,
        )),
    };
    Some(Server {
        host,
        port: url.port().unwrap_or(port),
        tls: tls.build_rustls().ok()?,
        is_implicit_tls,
        credentials,
    })
}

#[cfg(test)]
mod tests {
    use shared::domain::timestamp::Timestamp;

    use super::*;

    #[test]
    fn servers_by_example() {
        for (url, host, port, is_implicit_tls) in [
            ("smtps://user:pw@mail.example", "mail.example", 465, true),
            ("smtp://mail.example", "mail.example", 587, false),
            ("smtps://mail.example:2465", "mail.example", 2465, true),
            ("smtp://user@[::1]:25?tls=none", "::1", 25, false),
        ] {
            let server = server(url, None).unwrap();
            assert_eq!((server.host.as_str(), server.port), (host, port));
            assert_eq!(server.is_implicit_tls, is_implicit_tls);
            assert_eq!(server.credentials.is_some(), url.contains("user"));
        }
        for bad in [
            "",
            "mail.example",
            "http://mail.example",
            "smtp:",
            "smtps://",
        ] {
            assert!(server(bad, None).is_none(), "{bad}");
        }
    }

    /// ASCII, so that no server needs 8BITMIME or SMTPUTF8.
    #[test]
    fn a_message_is_pure_ascii() {
        let smtp = Smtp {
            server: server("smtps://mail.example", None).unwrap(),
            from: "Grüße <a@example.com>".parse().unwrap(),
            reply_to: Some("Für Sie <b@example.com>".parse().unwrap()),
        };
        let envelope = Envelope {
            id: "1",
            to: "ada@xn--bcher-kva.example",
            created_at: Timestamp::from_milliseconds(0),
        };
        let mail = Message {
            subject: "Bestätigen Sie Ihre Adresse für 阿达".to_owned(),
            html: "<p>für 阿达</p>".to_owned(),
            text: "für 阿达 ".repeat(200),
        };

        let message = smtp.message(&envelope, &mail).unwrap();

        let content = message.formatted();
        assert!(content.is_ascii());
        assert!(
            content
                .split(|byte| *byte == b'\n')
                .all(|line| line.len() < 1000)
        );
        let without = Envelope {
            to: "a..b@docomo.ne.jp",
            ..envelope
        };
        assert!(smtp.message(&without, &mail).is_err());
    }
}
