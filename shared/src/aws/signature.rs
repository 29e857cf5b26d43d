//! Signature Version 4 (IAM User Guide, "Create a signed AWS API request"), for what is sent here: a POST
//! without a query.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::{digest, hmac};
use http::HeaderValue;

use super::Config;
use crate::domain::secret::Secret;
use crate::domain::timestamp::Timestamp;

/// Signs requests to one service as the one whose keys it has.
pub(super) struct Signer {
    access_key_id: String,
    secret_access_key: Secret,
    session_token: Option<HeaderValue>,
    region: String,
    service: &'static str,
    /// A key is good for a day: which, and the key.
    key: Mutex<Option<(String, hmac::Key)>>,
}

/// What is signed of a request.
pub(super) struct Unsigned<'a> {
    /// With the port, unless it is the scheme's own.
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) content_type: &'a str,
    pub(super) target: Option<&'a str>,
    pub(super) body: &'a [u8],
}

/// What a signature adds to a request.
pub(super) struct Signed {
    /// `x-amz-date`.
    pub(super) date: String,
    pub(super) authorization: String,
}

impl Signer {
    /// For this service.
    pub(super) fn new(config: Config, service: &'static str) -> Self {
        Self {
            access_key_id: config.access_key_id,
            secret_access_key: config.secret_access_key,
            session_token: config.session_token,
            region: config.region,
            service,
            key: Mutex::new(None),
        }
    }

    /// What has to be sent beside the signature, if anything.
    pub(super) fn session_token(&self) -> Option<&HeaderValue> {
        self.session_token.as_ref()
    }

    pub(super) fn sign(&self, request: &Unsigned<'_>, now: Timestamp) -> Signed {
        let date = basic_format(now);
        let day = &date[..8];
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let (canonical, signed_headers) = self.canonical(request, &date);
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(&canonical));
        let signature = hmac::sign(&self.key(day), to_sign.as_bytes());
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed_headers}, Signature={}",
            self.access_key_id,
            hex::encode(signature)
        );
        Signed {
            date,
            authorization,
        }
    }

    /// The canonical request, and the names of the headers in it, which stand in the order of the alphabet.
    fn canonical(&self, request: &Unsigned<'_>, date: &str) -> (String, String) {
        let token = self.session_token.as_ref();
        let headers = [
            ("content-type", Some(request.content_type)),
            ("host", Some(request.host)),
            ("x-amz-date", Some(date)),
            (
                "x-amz-security-token",
                token.and_then(|token| token.to_str().ok()),
            ),
            ("x-amz-target", request.target),
        ];
        let mut canonical = format!("POST\n{}\n\n", request.path);
        let mut names = String::new();
        for (name, value) in headers {
            let Some(value) = value else { continue };
            // Writing into a string never fails.
            let _ = writeln!(canonical, "{name}:{value}");
            names.push_str(if names.is_empty() { "" } else { ";" });
            names.push_str(name);
        }
        let _ = write!(canonical, "\n{names}\n{}", sha256(request.body));
        (canonical, names)
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

/// ISO 8601 without separators: `20150830T123600Z`.
fn basic_format(now: Timestamp) -> String {
    let mut text = now.to_string();
    text.truncate("2015-08-30T12:36:00".len());
    text.retain(|c| c.is_ascii_alphanumeric());
    text.push('Z');
    text
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

    fn signer(service: &'static str, session_token: Option<&'static str>) -> Signer {
        let config = Config {
            region: "eu-central-1".to_owned(),
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
            session_token: session_token.map(HeaderValue::from_static),
            endpoint: None,
        };
        Signer::new(config, service)
    }

    const GET_ITEM: Unsigned = Unsigned {
        host: "dynamodb.eu-central-1.amazonaws.com",
        path: "/",
        content_type: "application/x-amz-json-1.0",
        target: Some("DynamoDB_20120810.GetItem"),
        body: br#"{"TableName":"users"}"#,
    };

    fn sign(signer: &Signer, request: &Unsigned<'_>) -> Signed {
        signer.sign(request, Timestamp::from_milliseconds(NOW))
    }

    /// What botocore 1.43.11 says to the same requests.
    #[test]
    fn signatures_are_those_of_another_implementation() {
        let local = Unsigned {
            host: "127.0.0.1:8000",
            ..GET_ITEM
        };
        let send_email = Unsigned {
            host: "email.eu-central-1.amazonaws.com",
            path: "/v2/email/outbound-emails",
            content_type: "application/json",
            target: None,
            body: b"{}",
        };

        let with_token = sign(&signer("dynamodb", Some("session-token")), &GET_ITEM);
        let without = sign(&signer("dynamodb", None), &local);
        let of_ses = sign(&signer("ses", Some("session-token")), &send_email);

        assert_eq!(with_token.date, "20150830T123600Z");
        assert_eq!(
            with_token.authorization,
            "AWS4-HMAC-SHA256 \
             Credential=AKIDEXAMPLE/20150830/eu-central-1/dynamodb/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, \
             Signature=146b7dce12d8b4700c0657c31d95be6128970ef9590b5055568f5f6817132841"
        );
        assert_eq!(
            without.authorization,
            "AWS4-HMAC-SHA256 \
             Credential=AKIDEXAMPLE/20150830/eu-central-1/dynamodb/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-target, \
             Signature=895809cf5b08722bc507b71a09b3b7921300f549072b121ef8b826fbe9020cac"
        );
        assert_eq!(
            of_ses.authorization,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-central-1/ses/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, \
             Signature=c5f93db6e739645c0686be8db64b93c5abb82b3dc62e07b19f239757b41292b8"
        );
    }

    #[test]
    fn a_key_is_for_one_day() {
        let kept = signer("dynamodb", None);
        for day in [0, 1, 2, 1] {
            let at = Timestamp::from_milliseconds(NOW + day * 24 * 60 * 60 * 1000);

            let signed = kept.sign(&GET_ITEM, at);

            let fresh = signer("dynamodb", None).sign(&GET_ITEM, at);
            assert_eq!(signed.authorization, fresh.authorization, "{at}");
        }
    }
}
