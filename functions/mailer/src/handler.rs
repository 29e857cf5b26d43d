use aws_lambda_events::dynamodb::{Event, StreamRecord};
use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use secrecy::ExposeSecret;
use serde_dynamo::AttributeValue;
use shared::auth::email_tokens::EmailTokens;
use shared::auth::frontends::Frontends;
use shared::config::Environment;
use shared::domain::email_address::EmailAddress;
use shared::domain::email_token::{Purpose, TokenId};
use shared::domain::mailed_code::{CodePurpose, MailedCode};
use shared::domain::rule::Parse;
use shared::store::Error;
use shared::store::outbox::{Kind, OutboxEntry};
use shared::store::suppression_list::SuppressionList;
use shared::{StartError, clock, telemetry};
use url::Url;

use crate::deliveries::{Deliveries, Lease};
use crate::delivery::{Envelope, Refusal};
use crate::mail_counts::MailCounts;
use crate::message::{Message, Occasion, Templates};
use crate::sender::Sender;

/// The code for a mail whose recipient has had too many of its kind.
const CAPPED: &str = "capped";

/// An outbox entry and its key.
struct Entry {
    pk: String,
    mail: OutboxEntry,
}

/// The mail must be tried again; the cause has been logged.
struct TryAgain;

/// Tries to send every entry of the batch: a failed entry does not hold up those behind it. Entries that are delivered
/// again because an earlier one failed are marked as sent and skipped.
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
            continue; // a retry would not help
        };
        if let Err(TryAgain) = send(app, &entry).await {
            let mut failure = DynamoDbBatchItemFailure::default();
            failure.item_identifier = sequence_number;
            response.batch_item_failures.push(failure);
        }
        telemetry::flush(); // the next entry may take longer than the environment has left
    }
    Ok(response)
}

async fn send(app: &App, entry: &Entry) -> Result<(), TryAgain> {
    if !claim(app, entry).await? {
        return Ok(());
    }
    let recipient = recipient(app, entry).await;
    let sent = match recipient.map_err(|error| again(entry, "store", &error))? {
        Ok(to) => match compose(app, entry, &to) {
            Ok(message) => {
                let mailbox = to.mailbox();
                app.sender.send(&entry.envelope(&mailbox), &message).await
            }
            Err(refusal) => Err(refusal),
        },
        Err(refusal) => Err(refusal),
    };
    let outcome = match &sent {
        Ok(()) => "sent",
        Err(Refusal::Final(code)) if code == CAPPED => CAPPED,
        Err(Refusal::Final(_)) => "given_up",
        Err(Refusal::Deferred(_) | Refusal::Outage(_)) => "failed",
    };
    telemetry::count("Mails", &[("Outcome", outcome)]);
    let code = sent.as_ref().err().map(Refusal::code);
    tracing::info!(entry = entry.pk, kind = ?entry.mail.kind, outcome, code, "mail");
    match note(app, entry, &sent).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(TryAgain),
        // The mail was sent and may be sent again, the same byte by byte.
        Err(error) => Err(again(entry, "store", &error)),
    }
}

/// Returns the recipient's address, or the reason why the mail is not sent, before any server is asked.
async fn recipient(app: &App, entry: &Entry) -> Result<Result<EmailAddress, Refusal>, Error> {
    let refused = |code: &str| Ok(Err(Refusal::Final(code.to_owned())));
    let Ok(address) = EmailAddress::parse(&entry.mail.to) else {
        return refused("InvalidAddress"); // accepted by an older rule; no server would take it
    };
    let now = clock::now();
    if app.suppression_list.is_undeliverable(&address, now).await? {
        return refused("Undeliverable");
    }
    let (pk, mail) = (&entry.pk, &entry.mail);
    if !app.mail_counts.count(&address, mail.kind, pk, now).await? {
        return refused(CAPPED);
    }
    Ok(Ok(address))
}

/// Records the outcome of a try; returns whether the entry is done.
async fn note(app: &App, entry: &Entry, sent: &Result<(), Refusal>) -> Result<bool, Error> {
    let (deliveries, pk) = (&app.deliveries, &entry.pk);
    match sent {
        Ok(()) => deliveries.mark_sent(pk, clock::now()).await?,
        Err(Refusal::Final(code)) => deliveries.give_up(pk, code).await?,
        Err(Refusal::Outage(_)) => {
            deliveries.release(pk).await?;
            return Ok(false);
        }
        // The stream delivers nothing else while it retries this entry, so it retries a few times, not for a day.
        Err(Refusal::Deferred(code)) => {
            if deliveries.defer(pk).await? {
                return Ok(false);
            }
            deliveries.give_up(pk, code).await?;
            telemetry::count("Mails", &[("Outcome", "given_up")]);
            tracing::warn!(
                entry = pk,
                code,
                "a mail that was deferred too often is given up"
            );
        }
    }
    Ok(true)
}

/// Claims the entry; returns whether to send it now. Waits for the lease of an invocation that may have died: if every
/// retry only found the entry leased, the retries would run out before the lease.
async fn claim(app: &App, entry: &Entry) -> Result<bool, TryAgain> {
    for _ in 0..2 {
        let now = clock::now();
        match app.deliveries.claim(&entry.pk, now).await {
            Ok(Lease::Granted) => return Ok(true),
            Ok(Lease::Done) => return Ok(false),
            Ok(Lease::Busy(until)) => tokio::time::sleep(now.until(until)).await,
            Err(error) => return Err(again(entry, "store", &error)),
        }
    }
    Err(TryAgain)
}

fn again(entry: &Entry, what: &str, error: &dyn std::fmt::Display) -> TryAgain {
    tracing::error!(entry = entry.pk, what, cause = %error, "a mail is to be tried again");
    TryAgain
}

/// Composes the message. Its token is derived here and stored nowhere; a URL fragment reaches no server's log.
fn compose(app: &App, entry: &Entry, to: &EmailAddress) -> Result<Message, Refusal> {
    let mail = &entry.mail;
    let (id, base) = (&mail.token_id, app.frontends.of(mail.origin.as_deref()));
    let link = |page: &str, purpose, id: &Option<TokenId>| {
        let token = app.email_tokens.derive(purpose, id.as_ref()?);
        Some(format!("{base}/{page}#token={}", token.expose_secret()))
    };
    let code = |purpose| {
        let id = id.as_ref().filter(|_| mail.has_code)?;
        Some(app.email_tokens.code(purpose, id, to))
    };
    let (target, code) = match mail.kind {
        Kind::SignInCode => {
            let code = code(CodePurpose::SignIn);
            let target = |code: &MailedCode| format!("{base}/sign-in#code={}", code.expose());
            (code.as_ref().map(target), code)
        }
        Kind::VerifyEmail => (
            link("verify-email", Purpose::VerifyEmail, id),
            code(CodePurpose::VerifyEmail),
        ),
        Kind::TwoFactorOn => (link("undo-two-factor", Purpose::UndoTwoFactor, id), None),
        Kind::ResetPassword | Kind::ResetRequired => (
            link("reset-password", Purpose::ResetPassword, id),
            code(CodePurpose::ResetPassword),
        ),
        Kind::PasswordChanged
        | Kind::PasswordWasReset
        | Kind::NewDevice
        | Kind::TwoFactorOff
        | Kind::TwoFactorLocked
        | Kind::PasskeyAdded
        | Kind::PasskeyRemoved
        | Kind::PasskeyCopied
        | Kind::IdentityLinked
        | Kind::IdentityUnlinked
        | Kind::BackupCodeUsed
        | Kind::SessionUsedElsewhere => {
            let page = app.security_page.as_ref().map(Url::as_str);
            (Some(page.unwrap_or(base).to_owned()), None)
        }
        Kind::AccountDeleted => (None, None), // there is no account to check
    };
    let rejection = &mail.rejection_token_id;
    let message = app.templates.message(&Occasion {
        kind: mail.kind,
        language: mail.language,
        name: mail.name.as_deref(),
        at: mail.created_at,
        ip: &mail.ip,
        user_agent: &mail.user_agent,
        account: &mail.to,
        code: code.as_ref().map(MailedCode::expose),
        link: target,
        reject_link: link("reject-email", Purpose::RejectEmail, rejection),
    });
    // The error's details may be values of the mail. It waits until the template is corrected.
    message.map_err(|error| {
        let (pk, cause, template) = (&entry.pk, error.kind(), error.name());
        tracing::error!(entry = pk, %cause, template, line = error.line(), "a template fails");
        Refusal::Outage("Template".to_owned())
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

    fn envelope<'a>(&'a self, to: &'a str) -> Envelope<'a> {
        Envelope {
            id: self.pk.trim_start_matches(OutboxEntry::PREFIX),
            to,
            created_at: self.mail.created_at,
        }
    }
}

/// The function's dependencies.
pub struct App {
    deliveries: Deliveries,
    suppression_list: SuppressionList,
    mail_counts: MailCounts,
    sender: Sender,
    templates: Templates,
    email_tokens: EmailTokens,
    frontends: Frontends,
    /// The page where users check their account; by default the front end itself.
    security_page: Option<Url>,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            deliveries: Deliveries::from_env(&mut environment),
            suppression_list: SuppressionList::from_env(&mut environment),
            mail_counts: MailCounts::from_env(&mut environment),
            sender: Sender::from_env(&mut environment),
            templates: Templates::from_env(&mut environment),
            email_tokens: EmailTokens::from_env(&mut environment),
            frontends: Frontends::from_env(&mut environment),
            security_page: environment.optional_page_url("SECURITY_URL"),
        };
        environment.finish(app)
    }
}
