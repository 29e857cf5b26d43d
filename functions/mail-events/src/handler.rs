use aws_lambda_events::sns::SnsEvent;
use serde::Deserialize;
use shared::auth::unproven_accounts::UnprovenAccounts;
use shared::config::Environment;
use shared::domain::client_info::ClientInfo;
use shared::domain::email_address::EmailAddress;
use shared::domain::rule::Parse;
use shared::domain::timestamp::Timestamp;
use shared::store::Error;
use shared::store::suppression_list::{SuppressionList, Undeliverable};
use shared::{StartError, clock, telemetry};

/// An SES report on a mail (SES developer guide, "Contents of event data that Amazon SES publishes to Amazon SNS").
#[derive(Deserialize)]
#[serde(tag = "eventType")]
enum MailEvent {
    Bounce {
        bounce: Bounce,
    },
    Complaint {
        complaint: Complaint,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bounce {
    bounce_type: String,
    bounced_recipients: Vec<Recipient>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Complaint {
    complained_recipients: Vec<Recipient>,
    complaint_feedback_type: Option<String>,
}

impl Complaint {
    /// Whether the recipient does not want the mail. Some reports say the opposite, or are about the mail's signature
    /// (RFC 5965, 7.3: `not-spam`; RFC 6591: `auth-failure`).
    fn is_unwelcome(&self) -> bool {
        let kind = self.complaint_feedback_type.as_deref();
        !matches!(kind, Some("not-spam" | "auth-failure"))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recipient {
    email_address: String,
}

/// Marks every address that an event is about. A complaint about an account whose address is not verified removes the
/// account instead, as "this wasn't me" does. If an address cannot be marked now, the invocation fails and Lambda
/// retries it; marking is idempotent.
pub async fn mark(app: &App, notifications: SnsEvent) -> Result<(), String> {
    for record in notifications.records {
        let Ok(event) = serde_json::from_str(&record.sns.message) else {
            tracing::error!("an event that SES does not write");
            continue; // a retry would not help
        };
        let Some((reason, recipients)) = concerned(event) else {
            continue;
        };
        for recipient in recipients {
            mark_one(app, &recipient.email_address, reason).await?;
        }
    }
    Ok(())
}

/// Returns the addresses that get no further mail, and why. A transient bounce (a full mailbox) is no reason.
fn concerned(event: MailEvent) -> Option<(Undeliverable, Vec<Recipient>)> {
    match event {
        MailEvent::Bounce { bounce } if bounce.bounce_type == "Permanent" => {
            Some((Undeliverable::Bounce, bounce.bounced_recipients))
        }
        MailEvent::Complaint { complaint } if complaint.is_unwelcome() => {
            Some((Undeliverable::Complaint, complaint.complained_recipients))
        }
        _ => None,
    }
}

async fn mark_one(app: &App, address: &str, reason: Undeliverable) -> Result<(), String> {
    let Ok(address) = EmailAddress::parse(address) else {
        tracing::warn!("an event about an address that no account can have");
        return Ok(());
    };
    let now = clock::now();
    let is_removed = match reason {
        Undeliverable::Complaint => remove_unproven(app, &address, now).await,
        Undeliverable::Bounce => Ok(false),
    };
    if is_removed.map_err(|error| format!("an account was not removed: {error}"))? {
        telemetry::count("Undeliverable", &[("Reason", reason.as_str())]);
        tracing::info!("a complaint has removed an account that was not proven");
        return Ok(());
    }
    let marked = app.suppression_list.mark(&address, reason, now).await;
    let is_known = marked.map_err(|error| format!("an address was not marked: {error}"))?;
    telemetry::count("Undeliverable", &[("Reason", reason.as_str())]);
    tracing::info!(
        reason = reason.as_str(),
        is_known,
        "an address is undeliverable"
    );
    Ok(())
}

async fn remove_unproven(app: &App, address: &EmailAddress, now: Timestamp) -> Result<bool, Error> {
    let accounts = &app.accounts;
    let Some(id) = accounts.users.find_id_by_email(address, now).await? else {
        return Ok(false);
    };
    accounts.remove(id, &ClientInfo::none(now)).await
}

/// The function's dependencies.
pub struct App {
    suppression_list: SuppressionList,
    accounts: UnprovenAccounts,
}

impl App {
    pub fn from_env() -> Result<Self, StartError> {
        let mut environment = Environment::of_process();
        let app = Self {
            suppression_list: SuppressionList::from_env(&mut environment),
            accounts: UnprovenAccounts::from_env(&mut environment),
        };
        environment.finish(app)
    }
}
