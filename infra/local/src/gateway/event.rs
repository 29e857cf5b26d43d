//! Events and answers in payload format 2.0 (API Gateway developer guide, "Working with AWS Lambda proxy integrations").

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::identity::{ACCOUNT, request_id};

/// Returns the request as an event, payload format 2.0.
pub(super) fn event(
    parts: &axum::http::request::Parts,
    body: &Bytes,
    peer: SocketAddr,
    route_key: &str,
    parameters: &BTreeMap<String, String>,
) -> Value {
    let (method, path, query) = (
        parts.method.as_str(),
        parts.uri.path(),
        parts.uri.query().unwrap_or_default(),
    );
    // Headers with the same name are joined by commas; cookies have a field of their own.
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    let mut cookies = Vec::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if name == header::COOKIE {
            cookies.extend(
                value
                    .split(';')
                    .map(|cookie| cookie.trim_matches(' ').to_owned()),
            );
        } else {
            let joined = headers.entry(name.as_str().to_owned()).or_default();
            *joined = if joined.is_empty() {
                value
            } else {
                format!("{joined},{value}")
            };
        }
    }
    headers.insert(
        "x-forwarded-for".to_owned(),
        forwarded_for(headers.get("x-forwarded-for"), peer),
    );
    let mut query_parameters: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let joined = query_parameters.entry(name.into_owned()).or_default();
        *joined = if joined.is_empty() {
            value.into_owned()
        } else {
            format!("{joined},{value}")
        };
    }
    let now = OffsetDateTime::now_utc();
    let time =
        format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
    let host = headers.get("host").cloned().unwrap_or_default();
    let user_agent = headers.get("user-agent").cloned().unwrap_or_default();
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "local",
            "domainName": host,
            "domainPrefix": host.split('.').next().unwrap_or_default(),
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": peer.ip().to_string(),
                "userAgent": user_agent,
            },
            "requestId": request_id(),
            "routeKey": route_key,
            "stage": "$default",
            "time": now.format(time).unwrap_or_default(),
            "timeEpoch": now.unix_timestamp() * 1000 + i64::from(now.millisecond()),
        },
        "isBase64Encoded": false,
    });
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies);
    }
    if !query_parameters.is_empty() {
        event["queryStringParameters"] = json!(query_parameters);
    }
    if !parameters.is_empty() {
        event["pathParameters"] = json!(parameters);
    }
    if !body.is_empty() {
        match std::str::from_utf8(body) {
            Ok(text) => event["body"] = json!(text),
            Err(_) => {
                event["body"] = json!(STANDARD.encode(body));
                event["isBase64Encoded"] = json!(true);
            }
        }
    }
    event
}

/// Appends the peer to the addresses that the client claims, as API Gateway does.
fn forwarded_for(claimed: Option<&String>, peer: SocketAddr) -> String {
    match claimed {
        Some(claimed) => format!("{claimed}, {}", peer.ip()),
        None => peer.ip().to_string(),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FunctionAnswer {
    status_code: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    multi_value_headers: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    cookies: Vec<String>,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// Converts a function's answer into a response; `None` if it is not a valid answer.
pub(super) fn from_function(answer: &[u8]) -> Option<Response<Body>> {
    let answer: FunctionAnswer = serde_json::from_slice(answer).ok()?;
    let body = answer.body.unwrap_or_default();
    let body = if answer.is_base64_encoded {
        STANDARD.decode(body).ok()?
    } else {
        body.into_bytes()
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(answer.status_code).ok()?;
    let headers = response.headers_mut();
    for (name, value) in answer.headers {
        headers.insert(
            HeaderName::try_from(name).ok()?,
            HeaderValue::try_from(value).ok()?,
        );
    }
    for (name, values) in answer.multi_value_headers {
        let joined = HeaderValue::try_from(values.join(",")).ok()?;
        headers.insert(HeaderName::try_from(name).ok()?, joined);
    }
    for cookie in answer.cookies {
        headers.append(header::SET_COOKIE, HeaderValue::try_from(cookie).ok()?);
    }
    Some(response)
}
