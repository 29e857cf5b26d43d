//! Signature Version 4 (IAM User Guide, "Create a signed AWS API request"), for what is sent here: a POST
//! without a query.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::{digest, hmac};
use http::HeaderName;
use http::header::{CONTENT_TYPE, HOST};
use time::macros::format_description;

use super::Config;
use crate::domain::secret::Secret;
use crate::domain::timestamp::Timestamp;

/// Bytes that what is signed has room in, most of which are a session's token.
const USUAL_LENGTH: usize = 2048;

/// Signs requests to one service as the one whose keys it has.
pub(super) struct Signer {
    access_key_id: String,
    secret_access_key: Secret,
    region: String,
    service: &'static str,
    /// A key is good for a day: which, and the key.
    key: Mutex<Option<(String, hmac::Key)>>,
}

/// What is signed of a request beside its path and its body, and sent with it.
pub(super) struct Headers<'a> {
    pub(super) content_type: &'a str,
    /// With the port, unless it is the scheme's own.
    pub(super) host: &'a str,
    /// See [`date`].
    pub(super) date: &'a str,
    pub(super) session_token: Option<&'a str>,
    pub(super) target: Option<&'a str>,
}

impl<'a> Headers<'a> {
    /// Those that there are, in the order of the alphabet.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (HeaderName, &'a str)> {
        const DATE: HeaderName = HeaderName::from_static("x-amz-date");
        const SESSION_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
        const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
        let headers = [
            (CONTENT_TYPE, Some(self.content_type)),
            (HOST, Some(self.host)),
            (DATE, Some(self.date)),
            (SESSION_TOKEN, self.session_token),
            (TARGET, self.target),
        ];
        let headers = headers.into_iter();
        headers.filter_map(|(name, value)| Some((name, value?)))
    }
}

impl Signer {
    /// For this service.
    pub(super) fn new(config: Config, service: &'static str) -> Self {
        Self {
            access_key_id: config.access_key_id,
            secret_access_key: config.secret_access_key,
            region: config.region,
            service,
            key: Mutex::new(None),
        }
    }

    /// The header `Authorization` of a request.
    pub(super) fn sign(&self, path: &str, headers: &Headers<'_>, body: &[u8]) -> String {
        let date = headers.date;
        let day = &date[..8];
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let mut canonical = String::with_capacity(USUAL_LENGTH);
        canonical.extend(["POST\n", path, "\n\n"]);
        let mut names = String::new();
        for (name, value) in headers.in_order() {
            canonical.extend([name.as_str(), ":", value, "\n"]);
            names.push_str(if names.is_empty() { "" } else { ";" });
            names.push_str(name.as_str());
        }
        canonical.extend(["\n", &names, "\n", &sha256(body)]);
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(&canonical));
        let signature = hmac::sign(&self.key(day), to_sign.as_bytes());
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
            self.access_key_id,
            hex::encode(signature)
        )
    }

    fn key(&self, day: &str) -> hmac::Key {
        let mut cached = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, key)) = &*cached
            && of == day
        {
            return key.clone();
        }
        let secret = format!("AWS4{}", self.secret_access_key.expose());
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        for part in [day, &self.region, self.service, "aws4_request"] {
            let next = hmac::sign(&key, part.as_bytes());
            key = hmac::Key::new(hmac::HMAC_SHA256, next.as_ref());
        }
        *cached = Some((day.to_owned(), key.clone()));
        key
    }
}

/// The header `X-Amz-Date`: ISO 8601 without separators, `20150830T123600Z`.
#[expect(clippy::expect_used, reason = "no clock is past the year 9999")]
pub(super) fn date(now: Timestamp) -> String {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    now.written(format).expect("a year of four digits")
}

/// In hexadecimal digits.
fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 30 August 2015, 12:36:00.
    const NOW: i64 = 1_440_938_160_000;

    const BODY: &[u8] = br#"{"TableName":"users"}"#;
    const DATE: &str = "20150830T123600Z";
    const GET_ITEM: Headers = Headers {
        content_type: "application/x-amz-json-1.0",
        host: "dynamodb.eu-central-1.amazonaws.com",
        date: DATE,
        session_token: Some("session-token"),
        target: Some("DynamoDB_20120810.GetItem"),
    };

    fn signer(service: &'static str) -> Signer {
        let config = Config {
            region: "eu-central-1".to_owned(),
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
            session_token: None,
            endpoint: None,
        };
        Signer::new(config, service)
    }

    /// What botocore 1.43.11 says to the same requests.
    #[test]
    fn signatures_are_those_of_another_implementation() {
        let local = Headers {
            host: "127.0.0.1:8000",
            session_token: None,
            ..GET_ITEM
        };
        let send_email = Headers {
            content_type: "application/json",
            host: "email.eu-central-1.amazonaws.com",
            target: None,
            ..GET_ITEM
        };

        let with_token = signer("dynamodb").sign("/", &GET_ITEM, BODY);
        let without = signer("dynamodb").sign("/", &local, BODY);
        let of_ses = signer("ses").sign("/v2/email/outbound-emails", &send_email, b"{}");

        assert_eq!(date(Timestamp::from_milliseconds(NOW)), DATE);
        assert_eq!(
            with_token,
            "AWS4-HMAC-SHA256 \
             Credential=AKIDEXAMPLE/20150830/eu-central-1/dynamodb/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, \
             Signature=146b7dce12d8b4700c0657c31d95be6128970ef9590b5055568f5f6817132841"
        );
        assert_eq!(
            without,
            "AWS4-HMAC-SHA256 \
             Credential=AKIDEXAMPLE/20150830/eu-central-1/dynamodb/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-target, \
             Signature=895809cf5b08722bc507b71a09b3b7921300f549072b121ef8b826fbe9020cac"
        );
        assert_eq!(
            of_ses,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-central-1/ses/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, \
             Signature=c5f93db6e739645c0686be8db64b93c5abb82b3dc62e07b19f239757b41292b8"
        );
    }

    #[test]
    fn a_key_is_for_one_day() {
        let kept = signer("dynamodb");
        for day in [0, 1, 2, 1] {
            let date = date(Timestamp::from_milliseconds(
                NOW + day * 24 * 60 * 60 * 1000,
            ));
            let headers = Headers {
                date: &date,
                ..GET_ITEM
            };

            let signed = kept.sign("/", &headers, BODY);

            let fresh = signer("dynamodb").sign("/", &headers, BODY);
            assert_eq!(signed, fresh, "{date}");
        }
    }
}
