//! SES v2's `SendEmail`, and the inbox that receives every mail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::middleware::from_fn;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::identity::request_id;
use crate::log::rfc3339;
use crate::{Error, hosts};

/// A mail that was sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mail {
    /// The message id that SES answered.
    pub id: String,
    /// The recipients.
    pub to: Vec<String>,
    /// The sender.
    pub from: String,
    /// The subject.
    pub subject: String,
    /// The plain-text body.
    pub text: String,
    /// The HTML body.
    pub html: String,
    /// Further headers by name.
    pub headers: BTreeMap<String, String>,
    /// When it was sent.
    pub sent_at: String,
}

/// Every mail that was sent, in the order of sending.
#[derive(Clone, Debug, Default)]
pub struct Inbox(Arc<Mutex<Vec<Mail>>>);

impl Inbox {
    /// Returns the mails, newest first.
    pub fn mails(&self) -> Vec<Mail> {
        let mails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        mails.iter().rev().cloned().collect()
    }

    /// Removes all mails.
    pub fn clear(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    fn add(&self, mail: Mail) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(mail);
    }
}

/// A running SES.
pub struct Ses {
    /// The address of the server.
    pub url: String,
    server: JoinHandle<()>,
}

impl Ses {
    /// Starts it.
    ///
    /// # Errors
    /// If it cannot listen.
    pub async fn start(inbox: Inbox) -> Result<Self, Error> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new()
            .route("/v2/email/outbound-emails", post(send))
            .layer(from_fn(hosts::own_and_containers))
            .with_state(inbox);
        let server = tokio::spawn(async move {
            // It ends with the stack; an error then does not matter.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, server })
    }
}

impl Drop for Ses {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn send(State(inbox): State<Inbox>, Json(request): Json<Value>) -> Response<Body> {
    let simple = &request["Content"]["Simple"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let recipients = request["Destination"]["ToAddresses"].as_array();
    let to: Vec<String> = recipients.into_iter().flatten().map(text).collect();
    let from = text(&request["FromEmailAddress"]);
    let further = simple["Headers"].as_array();
    let reply_to = request["ReplyToAddresses"].as_array();
    let reply_to = reply_to.into_iter().flatten();
    let reply_to = reply_to.map(|address| ("Reply-To".to_owned(), text(address)));
    if to.is_empty() || from.is_empty() || simple.is_null() {
        let refusal = json!({ "message": "a sender, a recipient and simple content are needed" });
        let mut response = Response::new(Body::from(refusal.to_string()));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        let kind = axum::http::HeaderValue::from_static("BadRequestException");
        response.headers_mut().insert("x-amzn-errortype", kind);
        return response;
    }
    let id = request_id();
    inbox.add(Mail {
        id: id.clone(),
        to,
        from,
        subject: text(&simple["Subject"]["Data"]),
        text: text(&simple["Body"]["Text"]["Data"]),
        html: text(&simple["Body"]["Html"]["Data"]),
        headers: further
            .into_iter()
            .flatten()
            .map(|header| (text(&header["Name"]), text(&header["Value"])))
            .chain(reply_to)
            .collect(),
        sent_at: rfc3339(&OffsetDateTime::now_utc()),
    });
    Response::new(Body::from(json!({ "MessageId": id }).to_string()))
}
