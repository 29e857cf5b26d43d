use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::config::Environment;
use shared::domain::email_address::EmailAddress;
use shared::domain::email_token::{self, Purpose, TokenId};
use shared::domain::language::Language;
use shared::domain::rule::Parse;
use shared::domain::secret::Secret;
use shared::domain::timestamp::Timestamp;
use shared::store::addresses::Addresses;
use shared::store::outbox::{Claim, Deliveries, Kind};
use shared::{StartError, clock, telemetry};

use crate::letter::{Letter, Writer};
use crate::sender::{Envelope, Refusal, Sender};

/// A batch of the table's stream.
#[derive(Deserialize)]
pub struct Batch {
    #[serde(rename = "Records", default)]
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    dynamodb: Change,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    sequence_number: String,
    #[serde(default)]
    new_image: Value,
}

/// What is to be delivered again, by sequence number.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failures {
    batch_item_failures: Vec<Failure>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: String,
}

/// An entry of the outbox.
struct Entry {
    pk: String,
    kind: Kind,
    to: String,
    name: Option<String>,
    token_id: Option<TokenId>,
    language: Language,
    created_at: Timestamp,
}

/// The mail is to be tried again; why, has been logged.
struct TryAgain;

/// Every entry of the batch is tried, whatever becomes of the others: one that fails does not hold up
/// those behind it. What is delivered again because an earlier one failed was marked as sent.
pub async fn deliver(app: &App, batch: Batch) -> Result<Failures, String> {
    let mut failures = Vec::new();
    for record in batch.records {
        let sequence_number = record.dynamodb.sequence_number;
        let Some(entry) = Entry::read(&record.dynamodb.new_image) else {
            tracing::error!(
                sequence_number,
                "an outbox entry that no code here has written"
            );
            telemetry::count("Mails", &[("Outcome", "unreadable")]);
            continue; // it will never be readable
        };
        if let Err(TryAgain) = send(app, &entry).await {
            let item_identifier = sequence_number;
            failures.push(Failure { item_identifier });
        }
        telemetry::flush(); // the next entry may take longer than this environment has
    }
    Ok(Failures {
        batch_item_failures: failures,
    })
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
    tracing::info!(entry = entry.pk, kind = ?entry.kind, outcome, code, "mail");
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
    let Ok(address) = EmailAddress::parse(&entry.to) else {
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
    let token = |purpose| {
        let id = entry.token_id.as_ref()?;
        Some(email_token::derive(&app.email_token_secret, purpose, id))
    };
    let link = |page: &str, token: Option<Secret>, suffix: &str| {
        let token = token?;
        Some(format!(
            "{}/{page}#token={}{suffix}",
            app.frontend_url,
            token.expose()
        ))
    };
    let (link, reject_link) = match entry.kind {
        Kind::VerifyEmail => (
            link("verify-email", token(Purpose::VerifyEmail), ""),
            link("verify-email", token(Purpose::VerifyEmail), "&reject=true"),
        ),
        Kind::ResetPassword => (
            link("reset-password", token(Purpose::ResetPassword), ""),
            None,
        ),
        _ => (None, None),
    };
    app.writer.write(
        entry.kind,
        entry.language,
        entry.name.as_deref(),
        link,
        reject_link,
    )
}

impl Entry {
    fn read(image: &Value) -> Option<Self> {
        let text = |name: &str| image[name]["S"].as_str().map(str::to_owned);
        let kind = serde_json::from_value(text("kind")?.into()).ok()?;
        let language = text("language").and_then(|text| serde_json::from_value(text.into()).ok());
        Some(Self {
            pk: text("pk").filter(|pk| pk.starts_with("OUTBOX#"))?,
            kind,
            to: text("to")?,
            name: text("name"),
            token_id: text("token_id").map(TokenId::from_stored),
            language: language.unwrap_or_default(),
            created_at: serde_json::from_value(text("created_at")?.into()).ok()?,
        })
    }

    fn envelope(&self) -> Envelope<'_> {
        Envelope {
            id: self.pk.trim_start_matches("OUTBOX#"),
            to: &self.to,
            created_at: self.created_at,
        }
    }
}

/// What the mailer may touch.
pub struct App {
    deliveries: Deliveries,
    addresses: Addresses,
    sender: Sender,
    writer: Writer,
    email_token_secret: Secret,
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
