use aws_lambda_events::dynamodb::{Event, StreamRecord};
use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use secrecy::{ExposeSecret, SecretString};
use serde_dynamo::AttributeValue;
use shared::config::Environment;
use shared::domain::email_address::EmailAddress;
use shared::domain::email_token::{self, Purpose, TokenId};
use shared::domain::rule::Parse;
use shared::store::addresses::Addresses;
use shared::store::outbox::{Claim, Deliveries, Kind, OutboxEntry};
use shared::{StartError, clock, telemetry};

use crate::letter::{Letter, Occasion, Writer};
use crate::sender::{Envelope, Refusal, Sender};

/// An entry of the outbox, and its key.
struct Entry {
    pk: String,
    mail: OutboxEntry,
}

/// The mail is to be tried again; why, has been logged.
struct TryAgain;

/// Every entry of the batch is tried, whatever becomes of the others: one that fails does not hold up
/// those behind it. What is delivered again because an earlier one failed was marked as sent.
pub async fn deliver(app: &App, batch: Event) -> Result<DynamoDbEventResponse, String> {
    let mut response = DynamoDbEventResponse::default();
    for record in batch.records {
        let sequence_number = record.change.sequence_number.clone();
        let Some(entry) = Entry::read(record.change) else {
            tracing::error!(
                sequence_number,
                "an outbox entry that no code here has written"
            );
            telemetry::count("Mails", &[("Outcome", "unreadable")]);
            continue; // it will never be readable
        };
        if let Err(TryAgain) = send(app, &entry).await {
            let mut failure = DynamoDbBatchItemFailure::default();
            failure.item_identifier = sequence_number;
            response.batch_item_failures.push(failure);
        }
        telemetry::flush(); // the next entry may take longer than this environment has
    }
    Ok(response)
}

async fn send(app: &App, entry: &Entry) -> Result<(), TryAgain> {
    if !claim(app, entry).await? {
        return Ok(());
    }
    let sent = match is_undeliverable(app, entry).await? {
        true => Err(Refusal::Final("Undeliverable".to_owned())),
        false => {
            let letter = compose(app, entry);
            app.sender.send(&entry.envelope(), &letter).await
        }
    };
    let noted = match &sent {
        Ok(()) => app.deliveries.mark_sent(&entry.pk, clock::now()).await,
        Err(Refusal::Final(code)) => app.deliveries.give_up(&entry.pk, code).await,
        Err(Refusal::Passing(_)) => app.deliveries.release(&entry.pk).await,
    };
    let outcome = match &sent {
        Ok(()) => "sent",
        Err(Refusal::Final(_)) => "given_up",
        Err(Refusal::Passing(_)) => "failed",
    };
    telemetry::count("Mails", &[("Outcome", outcome)]);
    let code = sent.as_ref().err().map(Refusal::code);
    tracing::info!(entry = entry.pk, kind = ?entry.mail.kind, outcome, code, "mail");
    if let Err(error) = noted {
        // What was sent may be sent once more after this, the same to the letter.
        return Err(again(entry, "store", &error));
    }
    match sent {
        Err(Refusal::Passing(_)) => Err(TryAgain),
        _ => Ok(()),
    }
}

/// Whether a mail to this address would bounce, or annoy, once more.
async fn is_undeliverable(app: &App, entry: &Entry) -> Result<bool, TryAgain> {
    let Ok(address) = EmailAddress::parse(&entry.mail.to) else {
        return Ok(false); // no bounce has named it
    };
    let undeliverable = app.addresses.is_undeliverable(&address, clock::now());
    undeliverable
        .await
        .map_err(|error| again(entry, "store", &error))
}

/// Whether this entry is to be sent now. One that somebody died over is waited for: there are fewer
/// tries than such a wait would take if each only found it taken.
async fn claim(app: &App, entry: &Entry) -> Result<bool, TryAgain> {
    for _ in 0..2 {
        let now = clock::now();
        match app.deliveries.claim(&entry.pk, now).await {
            Ok(Claim::Granted) => return Ok(true),
            Ok(Claim::Done) => return Ok(false),
            Ok(Claim::Busy(until)) => tokio::time::sleep(now.until(until)).await,
            Err(error) => return Err(again(entry, "store", &error)),
        }
    }
    Err(TryAgain)
}

fn again(entry: &Entry, what: &str, error: &dyn std::fmt::Display) -> TryAgain {
    tracing::error!(entry = entry.pk, what, cause = %error, "a mail is to be tried again");
    TryAgain
}

/// The letter; its token is derived here and nowhere stored. A fragment reaches no server's log.
fn compose(app: &App, entry: &Entry) -> Letter {
    let mail = &entry.mail;
    let link = |page: &str, purpose, id: &Option<TokenId>| {
        let token = email_token::derive(&app.email_token_secret, purpose, id.as_ref()?);
        let (base, token) = (&app.frontend_url, token.expose_secret());
        Some(format!("{base}/{page}#token={token}"))
    };
    let (page, purpose) = match mail.kind {
        Kind::VerifyEmail => ("verify-email", Purpose::VerifyEmail),
        Kind::TwoFactorOn => ("undo-two-factor", Purpose::UndoTwoFactor),
        _ => ("reset-password", Purpose::ResetPassword),
    };
    let rejection = &mail.rejection_token_id;
    app.writer.write(&Occasion {
        kind: mail.kind,
        language: mail.language,
        name: mail.name.as_deref(),
        at: mail.created_at,
        ip: &mail.ip,
        user_agent: &mail.user_agent,
        link: link(page, purpose, &mail.token_id),
        reject_link: link("reject-email", Purpose::RejectEmail, rejection),
    })
}

impl Entry {
    fn read(change: StreamRecord) -> Option<Self> {
        let pk = match change.keys.get("pk") {
            Some(AttributeValue::S(pk)) if pk.starts_with(OutboxEntry::PREFIX) => pk.clone(),
            _ => return None,
        };
        let mail = serde_dynamo::from_item(change.new_image).ok()?;
        Some(Self { pk, mail })
    }

    fn envelope(&self) -> Envelope<'_> {
        Envelope {
            id: self.pk.trim_start_matches(OutboxEntry::PREFIX),
            to: &self.mail.to,
            created_at: self.mail.created_at,
        }
    }
}

/// What the mailer may touch.
pub struct App {
    deliveries: Deliveries,
    addresses: Addresses,
    sender: Sender,
    writer: Writer,
    email_token_secret: SecretString,
    frontend_url: String,
}

impl App {
    /// From the environment variables.
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let dynamodb = environment.dynamodb();
        let users_table = environment.text("USERS_TABLE");
        let app = Self {
            deliveries: Deliveries::new(dynamodb.clone(), users_table.clone()),
            addresses: Addresses::new(dynamodb, users_table),
            sender: Sender::from_env(&mut environment),
            writer: Writer::new(environment.text("APP_NAME")),
            email_token_secret: environment.secret("EMAIL_TOKEN_SECRET"),
            frontend_url: environment
                .url("FRONTEND_URL")
                .trim_end_matches('/')
                .to_owned(),
        };
        environment.finish(app)
    }
}
